"""A service that knows how warm it is, and thinks for a moment: python service.py [PORT]."""

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

CELSIUS = {"Oslo": -4.5, "Rome": 14.0, "São Paulo": 24.5, "Tōkyō": 9.0}


class Handler(BaseHTTPRequestHandler):
    """Answers GET /PLACE with {"celsius": ...}."""

    def do_GET(self) -> None:
        time.sleep(0.1)
        place = unquote(self.path[1:])
        self.send_response(200 if place in CELSIUS else 404)
        self.end_headers()
        self.wfile.write(json.dumps({"celsius": CELSIUS.get(place)}).encode() + b"\n")

    def log_message(self, *arguments: object) -> None:
        """Keep quiet."""


class Service(ThreadingHTTPServer):
    """Serves many at once."""

    request_queue_size = 500


if __name__ == "__main__":
    Service(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8090), Handler).serve_forever()
