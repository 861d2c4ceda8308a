"""Show the requests of a trace file that tritonserver wrote, as in ``python spans.py trace.json.0``."""

import json
import sys
from pathlib import Path


def main(path: str) -> None:
    requests: dict[int, dict[str, int]] = {}
    for event in json.loads(Path(path).read_text(encoding="utf-8")):
        stamps = requests.setdefault(event["id"], {})
        stamps.update({stamp["name"]: stamp["ns"] for stamp in event.get("timestamps", ())})
    for number, stamps in requests.items():
        print(f"request {number}")
        first = min(stamps.values())
        for name, ns in sorted(stamps.items(), key=lambda stamp: stamp[1]):
            start = stamps.get(f"{name.removesuffix('_END')}_START") if name.endswith("_END") else None
            took = f"  took {(ns - start) / 1000:.1f} us" if start else ""
            print(f"{(ns - first) / 1000:9.1f} us  {name}{took}")


if __name__ == "__main__":
    main(sys.argv[1])
