"""Model repositories in clouds: looked at before tritonserver, which waits for minutes or aborts."""

from __future__ import annotations

import functools
import http.client
import mmap
import os
import queue
import re
import ssl
import threading
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from triton_backend_sdk.tools import remote_credentials
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.installation import ServerInstallation

#: Names a file with credentials for all clouds.
CREDENTIALS = remote_credentials.FILE
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
#: The only characters of a path with which the server sees that there is an endpoint.
_PATH = re.compile(r"[0-9a-z.-]+(?:/[0-9a-zA-Z._-]*)*")
_NOT_FOUND = 404
#: Statuses of a bucket that lies in another region than the one that was asked.
_ELSEWHERE = (301, 307, 400)


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


def parse(uri: str, env: Mapping[str, str] = os.environ) -> CloudRoot:
    """Take a root apart.

    :raises HandledError: it is none; says how one is written.
    """
    cloud, _, rest = uri.partition("://")
    if cloud not in _FORMS:
        known = ", ".join(f"{each}://" for each in _FORMS)
        raise HandledError(f"no model repository can be at {uri}: tritonserver knows folders, {known}")
    found = _parse_s3(rest, env) if cloud == "s3" else _parse_other(cloud, rest)
    if found is None or not found.bucket:
        raise HandledError(f"{uri} is no model repository", f"write {_FORMS[cloud]}")
    return found


def _parse_s3(rest: str, env: Mapping[str, str]) -> CloudRoot | None:
    match = _ENDPOINT.match(rest)
    if match:
        if not _PATH.fullmatch(match["rest"]):
            raise HandledError(
                f"tritonserver does not see the endpoint in s3://{rest}: behind it, bucket and path may have "
                "letters (a bucket small ones), digits, and . - _ only",
                "rename the bucket or the folder",
            )
        bucket, _, path = match["rest"].partition("/")
        scheme = match["scheme"] or "http"
        host, port = match["host"], int(match["port"])
        return CloudRoot("s3", bucket, path.strip("/"), host, port, f"{scheme}://{host}:{port}")
    if "://" in rest:
        return None  # an endpoint without a port, which tritonserver takes for a bucket
    bucket, _, path = rest.partition("/")
    region = env.get("AWS_DEFAULT_REGION") or "us-east-1"
    host = f"s3.{region}.amazonaws.com"
    return CloudRoot("s3", bucket, path, host, 443, f"https://{host}")


def _parse_other(cloud: str, rest: str) -> CloudRoot | None:
    first, _, path = rest.partition("/")
    host = "storage.googleapis.com"
    if cloud == "as":
        host = f"{first.partition('.')[0]}.blob.core.windows.net"
        first, _, path = path.partition("/")
    return CloudRoot(cloud, first, path, host, 443, f"https://{host}")


def check_root(
    uri: str, server: ServerInstallation, timeout: float = 5.0, env: Mapping[str, str] = os.environ
) -> CloudRoot:
    """Refuse a root that the server cannot use, within seconds.

    :param env: the environment that the server will have.
    :raises HandledError: it is written wrongly, the server was built without this cloud, the credentials
        cannot be right, nothing answers at the endpoint, or what answers has no such bucket.
    """
    root = parse(uri, env)
    if not supports(server, root.cloud):
        raise HandledError(
            f"tritonserver {server.version or ''} ({server.binary}) was built without {root.cloud}://",
            f"take NVIDIA's image, or copy {uri} to this machine",
        )
    given = remote_credentials.find(root.cloud, uri, env)
    if endpoint := _unheard(root, server, env):
        raise HandledError(
            f"AWS_ENDPOINT_URL is {endpoint}, but tritonserver {server.version or ''} does not look at it: "
            f"it would ask {root.host}",
            f"write s3://{endpoint.rstrip('/')}/{root.bucket}/{root.path} with the port, or unset it",
        )
    root = _at_home(root, given)
    if _through_a_proxy(root):
        return root
    reason = _within(timeout, lambda: _ask(root, timeout))
    if reason is None:
        return root
    if isinstance(reason, HandledError):
        raise reason
    raise HandledError(
        f"no answer for {uri} from {root.endpoint} within {timeout:.0f} s: {reason}",
        "check the network, and the endpoint in the URI; tritonserver would wait for minutes",
    )


def supports(server: ServerInstallation, cloud: str) -> bool:
    """Tell whether a server was built with a cloud's file system."""
    return not _has_text(server, _WITHOUT[cloud])


def _has_text(server: ServerInstallation, text: bytes) -> bool:
    file = server.library or server.binary
    return _file_has(file, file.stat().st_mtime_ns, text)


@functools.cache
def _file_has(file: Path, changed: int, text: bytes) -> bool:
    if file.stat().st_size == 0:
        return False
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(text) >= 0


def _unheard(root: CloudRoot, server: ServerInstallation, env: Mapping[str, str]) -> str | None:
    """Give the endpoint that other programs take from the environment, but this server does not."""
    endpoint = env.get("AWS_ENDPOINT_URL_S3") or env.get("AWS_ENDPOINT_URL")
    amazon = root.cloud == "s3" and root.host.endswith(".amazonaws.com")
    return endpoint if amazon and not _has_text(server, b"AWS_ENDPOINT_URL") else None


def _at_home(root: CloudRoot, given: Mapping[str, str]) -> CloudRoot:
    """Give the root with the host that the server goes to, which its credentials may name."""
    host = root.host
    if root.cloud == "as" and given.get("account_str"):
        host = f"{given['account_str']}.blob.core.windows.net"
    elif root.cloud == "s3" and host.endswith(".amazonaws.com") and given.get("region"):
        host = f"s3.{given['region']}.amazonaws.com"
    return root if host == root.host else replace(root, host=host, endpoint=f"https://{host}")


def _through_a_proxy(root: CloudRoot) -> bool:
    """Tell whether the server asks a proxy; for S3 it never does."""
    proxies = urllib.request.getproxies()
    return root.cloud != "s3" and "https" in proxies and not urllib.request.proxy_bypass(root.host)


def _ask(root: CloudRoot, timeout: float) -> str | HandledError | None:
    """Ask for the bucket, without credentials: whatever the answer, there is one."""
    connection = _connection(root, timeout)
    query = "?restype=container" if root.cloud == "as" else ""
    try:
        connection.request("HEAD", f"/{root.bucket}{query}")
        answer = connection.getresponse()
    except (OSError, http.client.HTTPException) as error:
        return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
    finally:
        connection.close()
    if answer.status == _NOT_FOUND and root.cloud != "as":
        # Azure says so of a container that only those see who may.
        return HandledError(
            f"there is no bucket {root.bucket} at {root.endpoint}",
            "mend the URI: the bucket's name, or the endpoint",
        )
    region = answer.headers.get("x-amz-bucket-region")
    if answer.status in _ELSEWHERE and region and f".{region}." not in root.host:
        return HandledError(
            f"bucket {root.bucket} lies in {region}, but the server would ask {root.host}",
            f"export AWS_DEFAULT_REGION={region}",
        )
    return None


def _connection(root: CloudRoot, timeout: float) -> http.client.HTTPConnection:
    if urlsplit(root.endpoint).scheme == "http":
        return http.client.HTTPConnection(root.host, root.port, timeout=timeout)
    # Nothing secret is sent, and whom the server trusts is its own affair.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(root.host, root.port, timeout=timeout, context=context)


def _within(timeout: float, function: Callable[[], str | HandledError | None]) -> str | HandledError | None:
    """Bound what takes its own time, as looking a name up does."""
    answers: queue.Queue[str | HandledError | None] = queue.Queue()
    threading.Thread(target=lambda: answers.put(function()), daemon=True).start()
    try:
        return answers.get(timeout=timeout)
    except queue.Empty:
        return "timed out"
