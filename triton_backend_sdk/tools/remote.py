"""Model repositories in clouds: looked at before tritonserver, which waits for minutes or aborts."""

from __future__ import annotations

import base64
import functools
import http.client
import mmap
import os
import re
import ssl
import threading
from collections.abc import Callable, Mapping
from concurrent import futures
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import proxy_bypass

from triton_backend_sdk.tools import remote_credentials
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.installation import ServerInstallation

_FORMS = {
    "s3": "s3://BUCKET/PATH or s3://https://HOST:PORT/BUCKET/PATH",
    "gs": "gs://BUCKET/PATH",
    "as": "as://ACCOUNT/CONTAINER/PATH",
}
#: As other programs write a cloud.
_OTHER_NAMES = {"s3a": "s3", "s3n": "s3", "gcs": "gs", "az": "as", "azure": "as", "abfs": "as", "abfss": "as"}
_SLIP = re.compile(r"(?P<cloud>\w+)(?::/*|//+)(?P<rest>[^/].*)")
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
_Found = TypeVar("_Found")


@dataclass(frozen=True)
class CloudRoot:
    """A model repository in a cloud."""

    #: s3, gs or as.
    cloud: str
    #: Bucket, or container.
    bucket: str
    path: str
    #: Where the server asks, as a URL.
    endpoint: str
    #: As the server has them; {} where it has none, or looks for them itself.
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def at_amazon(self) -> bool:
        """Whether it lies in Amazon's S3, and not in a store that speaks like it."""
        return self.endpoint.endswith((".amazonaws.com", ".amazonaws.com.cn"))


def parse(uri: str) -> CloudRoot:
    """Take a root apart.

    :raises HandledError: it is none; says how one is written.
    """
    cloud, _, rest = uri.partition("://")
    if cloud not in _FORMS:
        known = ", ".join(f"{each}://" for each in _FORMS)
        write = rest if cloud == "file" else meant(uri) or f"{', '.join(_FORMS.values())}, or a folder"
        raise HandledError(
            f"no model repository can be at {uri}: tritonserver knows folders, {known}", f"write {write}"
        )
    found = _parse_s3(rest) if cloud == "s3" else _parse_other(cloud, rest)
    if found is None or not found.bucket:
        raise HandledError(f"{uri} is no model repository", f"write {meant(uri) or _FORMS[cloud]}")
    return found


def meant(place: str) -> str | None:
    """Give the URI that somebody meant who wrote s3:/bucket/models; None: no slip that is known."""
    if (endpoint := _ENDPOINT.match(place)) and endpoint["scheme"]:
        return f"s3://{place}"  # a store of one's own
    slip = _SLIP.fullmatch(place)
    if slip is None:
        return None
    cloud = _OTHER_NAMES.get(slip["cloud"].lower(), slip["cloud"].lower())
    uri = f"{cloud}://{slip['rest']}"
    return uri if cloud in _FORMS and uri != place else None


def _parse_s3(rest: str) -> CloudRoot | None:
    match = _ENDPOINT.match(rest)
    if match:
        if not _PATH.fullmatch(match["rest"]):
            raise HandledError(
                f"tritonserver does not see the endpoint in s3://{rest}: behind it, bucket and path may have "
                "letters (a bucket small ones), digits, and . - _ only",
                "rename the bucket or the folder",
            )
        bucket, _, path = match["rest"].partition("/")
        endpoint = f"{match['scheme'] or 'http'}://{match['host']}:{match['port']}"
        return CloudRoot("s3", bucket, path.strip("/"), endpoint)
    if "://" in rest:
        return None  # an endpoint without a port, which tritonserver takes for a bucket
    bucket, _, path = rest.partition("/")
    return CloudRoot("s3", bucket, path.strip("/"), _amazon("us-east-1"))


def _parse_other(cloud: str, rest: str) -> CloudRoot | None:
    first, _, path = rest.partition("/")
    endpoint = "https://storage.googleapis.com"
    if cloud == "as":
        endpoint = f"https://{first.partition('.')[0]}.blob.core.windows.net"
        first, _, path = path.partition("/")
    return CloudRoot(cloud, first, path.strip("/"), endpoint)


def check_root(
    uri: str,
    server: ServerInstallation | None,
    timeout: float = 5.0,
    env: Mapping[str, str] = os.environ,
) -> CloudRoot:
    """Refuse a root that the server cannot use, within seconds.

    :param server: None where none in particular is meant.
    :param env: the environment that the server will have.
    :raises HandledError: it is written wrongly, the server was built without this cloud, the credentials
        cannot be right, nothing answers at the endpoint, or what answers has no such bucket.
    """
    root = parse(uri)
    if server and not supports(server, root.cloud):
        raise HandledError(
            f"tritonserver {server.version or ''} ({server.binary}) was built without {root.cloud}://",
            f"take NVIDIA's image, or copy {uri} to this machine",
        )
    root = _asked(replace(root, credentials=remote_credentials.find(root.cloud, uri, env)), server, env)
    proxy = _proxy(root, env)
    if proxy is not None and proxy.scheme != "http":
        return root  # nothing here speaks SOCKS
    try:
        within(timeout, lambda: _ask(root, proxy, timeout))
    except (OSError, http.client.HTTPException, futures.TimeoutError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        if isinstance(error, (TimeoutError, futures.TimeoutError)):
            reason = f"timed out after {timeout:g} s"
        end = "abort" if root.cloud == "as" else "wait for minutes"
        by = f" through the proxy {proxy.hostname}:{proxy.port}" if proxy else ""
        raise HandledError(
            f"no answer for {uri} from {root.endpoint}{by}: {reason}",
            f"check the network and the {'proxy' if proxy else 'URI'}; tritonserver would {end}",
        ) from error
    return root


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


def _asked(root: CloudRoot, server: ServerInstallation | None, env: Mapping[str, str]) -> CloudRoot:
    """Give the root with the endpoint that the server goes to, which its environment may name."""
    given = root.credentials
    if root.cloud == "as" and given.get("account_str"):
        return replace(root, endpoint=f"https://{given['account_str']}.blob.core.windows.net")
    if not root.at_amazon:
        return root
    if other := env.get("AWS_ENDPOINT_URL_S3") or env.get("AWS_ENDPOINT_URL"):
        if server is None or _has_text(server, b"AWS_ENDPOINT_URL"):
            return replace(root, endpoint=other.rstrip("/"))
        raise HandledError(
            f"AWS_ENDPOINT_URL is {other}, but tritonserver {server.version or ''} does not look at it: "
            f"it would ask {root.endpoint}",
            f"write s3://{other.rstrip('/')}/{root.bucket}/{root.path} with the port, or unset it",
        )
    return replace(root, endpoint=_amazon(given.get("region") or "us-east-1"))


def _amazon(region: str) -> str:
    return f"https://s3.{region}.amazonaws.com" + (".cn" if region.startswith("cn-") else "")


def _proxy(root: CloudRoot, env: Mapping[str, str]) -> SplitResult | None:
    """Give the proxy that the server asks instead; for S3 it never does."""
    proxies = {
        name.lower().removesuffix("_proxy"): value
        for name, value in env.items()
        if name.lower().endswith("_proxy") and value
    }
    proxy = proxies.get("https") or proxies.get("all")
    host = urlsplit(root.endpoint).hostname or ""
    if root.cloud == "s3" or not proxy or proxy_bypass(host, proxies):
        return None
    return urlsplit(proxy if "://" in proxy else f"http://{proxy}")


def _ask(root: CloudRoot, proxy: SplitResult | None, timeout: float) -> None:
    """Ask for the bucket, without credentials: whatever the answer, there is one."""
    connection = _connection(root, proxy, timeout)
    query = "?restype=container" if root.cloud == "as" else ""
    try:
        connection.request("HEAD", f"/{root.bucket}{query}")
        with connection.getresponse() as answer:
            pass
    finally:
        connection.close()
    if answer.status == _NOT_FOUND and root.cloud != "as":
        # Azure says so of a container that only those see who may.
        raise HandledError(
            f"there is no bucket {root.bucket} at {root.endpoint}",
            "mend the URI: the bucket's name, or the endpoint",
        )
    region = answer.headers.get("x-amz-bucket-region")
    if answer.status in _ELSEWHERE and region and f".{region}." not in root.endpoint:
        raise HandledError(
            f"bucket {root.bucket} lies in {region}, but the server would ask {root.endpoint}",
            f"export AWS_DEFAULT_REGION={region}",
        )


def _connection(root: CloudRoot, proxy: SplitResult | None, timeout: float) -> http.client.HTTPConnection:
    endpoint = urlsplit(root.endpoint)
    host, port = endpoint.hostname or "", endpoint.port
    if endpoint.scheme == "http":
        return http.client.HTTPConnection(host, port, timeout=timeout)
    # Nothing secret is sent, and whom the server trusts is its own affair.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if proxy is None:
        return http.client.HTTPSConnection(host, port, timeout=timeout, context=context)
    connection = http.client.HTTPSConnection(
        proxy.hostname or "", proxy.port or 80, timeout=timeout, context=context
    )
    connection.set_tunnel(host, port or 443, _for_proxy(proxy))
    return connection


def _for_proxy(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    login = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}


def within(timeout: float, function: Callable[[], _Found]) -> _Found:
    """Bound what takes its own time, as looking a name up does.

    :raises concurrent.futures.TimeoutError: it takes more.
    """
    found: futures.Future[_Found] = futures.Future()

    def call() -> None:
        try:
            found.set_result(function())
        except BaseException as error:  # it is the caller's
            found.set_exception(error)

    # An executor's thread would be waited for at the end of the program.
    threading.Thread(target=call, daemon=True).start()
    return found.result(timeout)
