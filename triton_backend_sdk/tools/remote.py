"""Model repositories in clouds: looked at before tritonserver, which waits for minutes or aborts."""

from __future__ import annotations

import functools
import mmap
import os
import queue
import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.installation import ServerInstallation

#: Names a file with credentials for all clouds.
CREDENTIALS = "TRITON_CLOUD_CREDENTIAL_PATH"
_FORMS = {
    "s3": "s3://BUCKET/PATH or s3://https://HOST:PORT/BUCKET/PATH",
    "gs": "gs://BUCKET/PATH",
    "as": "as://ACCOUNT/CONTAINER/PATH",
}
#: What a server says that was built without the cloud; one with it does not have the text.
_WITHOUT = {
    "s3": b"-DTRITON_ENABLE_S3=ON",
    "gs": b"-DTRITON_ENABLE_GCS=ON",
    "as": b"-DTRITON_ENABLE_AZURE_STORAGE=ON",
}
_ENDPOINT = re.compile(r"^(?:(?P<scheme>https?)://)?(?P<host>[^/:]+):(?P<port>\d+)/(?P<rest>.+)$")


@dataclass(frozen=True)
class CloudRoot:
    """A model repository in a cloud."""

    #: s3, gs or as.
    cloud: str
    #: Bucket, or container.
    bucket: str
    path: str
    host: str
    port: int
    #: The endpoint as a URL.
    endpoint: str


def parse(uri: str) -> CloudRoot:
    """Take a root apart.

    :raises HandledError: it is none; says how one is written.
    """
    cloud, _, rest = uri.partition("://")
    if cloud not in _FORMS:
        known = ", ".join(f"{each}://" for each in _FORMS)
        raise HandledError(f"no model repository can be at {uri}: tritonserver knows folders, {known}")
    found = _parse_s3(rest) if cloud == "s3" else _parse_other(cloud, rest)
    if found is None or not found.bucket:
        raise HandledError(f"{uri} is no model repository", f"write {_FORMS[cloud]}")
    return found


def _parse_s3(rest: str) -> CloudRoot | None:
    match = _ENDPOINT.match(rest)
    if match:
        bucket, _, path = match["rest"].partition("/")
        scheme = match["scheme"] or "http"
        host, port = match["host"], int(match["port"])
        return CloudRoot("s3", bucket, path, host, port, f"{scheme}://{host}:{port}")
    if "://" in rest:
        return None  # an endpoint without a port, which tritonserver takes for a bucket
    bucket, _, path = rest.partition("/")
    given = os.environ.get("AWS_ENDPOINT_URL")
    region = os.environ.get("AWS_DEFAULT_REGION") or os.environ.get("AWS_REGION") or "us-east-1"
    endpoint = urlsplit(given or f"https://s3.{region}.amazonaws.com")
    port = endpoint.port or {"http": 80}.get(endpoint.scheme, 443)
    return CloudRoot("s3", bucket, path, endpoint.hostname or "", port, endpoint.geturl())


def _parse_other(cloud: str, rest: str) -> CloudRoot | None:
    first, _, path = rest.partition("/")
    host = "storage.googleapis.com"
    if cloud == "as":
        host = f"{first.partition('.')[0]}.blob.core.windows.net"
        first, _, path = path.partition("/")
    return CloudRoot(cloud, first, path, host, 443, f"https://{host}")


def check_root(uri: str, server: ServerInstallation, timeout: float = 5.0) -> CloudRoot:
    """Refuse a root that the server cannot use, within seconds.

    :raises HandledError: it is written wrongly, the server was built without this cloud, the credentials'
        file is missing, or nothing answers at the endpoint.
    """
    root = parse(uri)
    if not supports(server, root.cloud):
        raise HandledError(
            f"tritonserver {server.version or ''} ({server.binary}) was built without {root.cloud}://",
            f"take NVIDIA's image, or copy {uri} to this machine",
        )
    file = os.environ.get(CREDENTIALS)
    if file and not Path(file).is_file():
        raise HandledError(f"{CREDENTIALS} names {file}, which is no file", "mend or unset the variable")
    reason = _within(timeout, lambda: _connect(root, timeout))
    if reason:
        raise HandledError(
            f"no answer for {uri} from {root.endpoint} within {timeout:.0f} s: {reason}",
            "check the network, and the endpoint in the URI; tritonserver would wait for minutes",
        )
    return root


def supports(server: ServerInstallation, cloud: str) -> bool:
    """Tell whether a server was built with a cloud's file system."""
    file = server.library or server.binary
    return _supports(file, file.stat().st_mtime_ns, cloud)


@functools.cache
def _supports(file: Path, changed: int, cloud: str) -> bool:
    if file.stat().st_size == 0:
        return True
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as text:
        return text.find(_WITHOUT[cloud]) < 0


def _connect(root: CloudRoot, timeout: float) -> str:
    try:
        socket.create_connection((root.host, root.port), timeout=timeout).close()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _within(timeout: float, function: Callable[[], str]) -> str:
    """Bound what takes its own time, as looking a name up does."""
    answers: queue.Queue[str] = queue.Queue()
    threading.Thread(target=lambda: answers.put(function()), daemon=True).start()
    try:
        return answers.get(timeout=timeout)
    except queue.Empty:
        return "timed out"
