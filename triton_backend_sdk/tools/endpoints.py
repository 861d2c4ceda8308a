"""How to ask a running server: over HTTP, or over gRPC where that is all it answers."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import quote

from triton_backend_sdk.tools import client_parts
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.server_options.options import ServerOptions

#: The server is on this machine: a proxy from the environment has no part in talking to it.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
#: What a client puts before the key of --grpc-restricted-protocol.
_GRPC_PREFIX = "triton-grpc-protocol-"
_LOAD_LIMIT_S = 600.0
#: What HTTP's paths are to --http-restricted-api.
_HEALTH, _REPOSITORY = ("/v2/health/", "health"), ("/v2/repository/", "model-repository")
Restricted = Mapping[str, tuple[str, str]]


class Endpoint(Protocol):
    """What the launcher asks of a server."""

    def ready(self) -> bool | None:
        """Tell whether it is ready; None: no answer."""

    def index(self) -> list[dict[str, str]]:
        """Give the repository index.

        :raises OSError: no answer.
        """

    def statistics(self) -> dict[str, Any]:
        """Give what the server counted of its models.

        :raises OSError: no answer.
        """

    def load(self, model: str) -> str | None:
        """Load a model, again where it is loaded; what went wrong, or None."""

    def unload(self, model: str) -> str | None:
        """Unload a model; what went wrong, or None."""


def _headers(restricted: Restricted, api: str) -> dict[str, str]:
    """Give what any request may need, and where two groups have one key, what those of this API want."""
    mine = [pair for names, pair in restricted.items() if api in names.split(",")]
    return dict([*restricted.values(), *mine])


class HttpEndpoint:
    """Over HTTP, with what restricted APIs want of a client."""

    def __init__(self, url: str, restricted: Restricted | None = None) -> None:
        self.url = url
        self._restricted = restricted or {}

    def request(self, path: str, *, method: str = "GET", body: Any = None, timeout: float = 10.0) -> Any:
        """Send a request and give the JSON of its answer.

        :raises urllib.error.URLError: no answer, or (as HTTPError) a status other than 2xx.
        """
        data = None if body is None else json.dumps(body).encode()
        api = next((api for start, api in (_HEALTH, _REPOSITORY) if path.startswith(start)), "")
        headers = _headers(self._restricted, api)
        request = urllib.request.Request(
            f"http://{self.url}{path}", data=data, method=method, headers=headers
        )
        with _OPENER.open(request, timeout=timeout) as response:
            text = response.read()
        # Names and faults may hold any bytes of a folder's name or a config.
        return json.loads(text.decode("utf-8", "surrogateescape")) if text else None

    def ready(self) -> bool | None:
        """Tell whether it is ready; None: no answer."""
        try:
            self.request("/v2/health/ready")
        except urllib.error.HTTPError:
            return False
        except (OSError, http.client.HTTPException):
            return None
        return True

    def index(self) -> list[dict[str, str]]:
        """Give the repository index."""
        return list(self.request("/v2/repository/index", method="POST"))

    def statistics(self) -> dict[str, Any]:
        """Give what the server counted of its models."""
        return dict(self.request("/v2/models/stats"))

    def load(self, model: str) -> str | None:
        """Load a model, again where it is loaded; what went wrong, or None."""
        return self._control(model, "load")

    def unload(self, model: str) -> str | None:
        """Unload a model; what went wrong, or None."""
        return self._control(model, "unload")

    def _control(self, model: str, action: str) -> str | None:
        path = f"/v2/repository/models/{quote(model, safe='')}/{action}"
        try:
            self.request(path, method="POST", timeout=_LOAD_LIMIT_S)
        except urllib.error.HTTPError as error:
            try:
                return str(json.loads(error.read())["error"])
            except (ValueError, KeyError):
                return f"HTTP status {error.code}"
        except (OSError, http.client.HTTPException) as error:  # as over gRPC
            return f"no answer: {error}"
        return None


class GrpcEndpoint:
    """Over gRPC, through tritonclient.

    :raises HandledError: there is no tritonclient here.
    """

    def __init__(self, url: str, restricted: Restricted | None = None) -> None:
        try:
            grpc = client_parts.load("tritonclient.grpc")
            utils = client_parts.load("tritonclient.utils")
        except HandledError as error:
            raise HandledError(
                f"a server without HTTP is asked over gRPC, but {error.message}",
                f"{error.next_step}, or leave HTTP on",
            ) from error
        self._error: type[Any] = utils.InferenceServerException
        self._client = grpc.InferenceServerClient(url, channel_args=client_parts.channel_options(url))
        keys = {name: (f"{_GRPC_PREFIX}{key}", value) for name, (key, value) in (restricted or {}).items()}
        self._health, self._repository = (_headers(keys, api) for _, api in (_HEALTH, _REPOSITORY))

    def ready(self) -> bool | None:
        """Tell whether it is ready; None: no answer."""
        try:
            return bool(self._client.is_server_ready(headers=self._health, client_timeout=10.0))
        except self._error:
            return None

    def index(self) -> list[dict[str, str]]:
        """Give the repository index."""
        return list(self._ask(self._client.get_model_repository_index).get("models", ()))

    def statistics(self) -> dict[str, Any]:
        """Give what the server counted of its models."""
        return self._ask(self._client.get_inference_statistics)

    def _ask(self, function: Any) -> dict[str, Any]:
        try:
            return dict(function(headers=self._repository, as_json=True, client_timeout=10.0))
        except self._error as error:
            raise ConnectionError(error.message()) from error  # as over HTTP

    def load(self, model: str) -> str | None:
        """Load a model, again where it is loaded; what went wrong, or None."""
        return self._control(self._client.load_model, model)

    def unload(self, model: str) -> str | None:
        """Unload a model; what went wrong, or None."""
        return self._control(self._client.unload_model, model)

    def _control(self, function: Any, model: str) -> str | None:
        try:
            function(model, headers=self._repository, client_timeout=_LOAD_LIMIT_S)
        except self._error as error:
            return str(error.message())
        return None


def check_askable(options: ServerOptions) -> None:
    """Refuse to start a server that nobody could ask whether it is ready.

    :raises HandledError: it has neither HTTP nor gRPC, or gRPC with TLS alone.
    """
    if options.allow_http:
        return
    if not options.allow_grpc:
        raise HandledError(
            "without HTTP and gRPC there is no way to ask the server whether it is ready",
            "leave one of --allow-http=false and --allow-grpc=false out",
        )
    if options.grpc_use_ssl or options.grpc_use_ssl_mutual:
        raise HandledError(
            "with TLS alone there is no way to ask the server whether it is ready: it wants certificates",
            "leave --allow-http=false out; HTTP listens on this machine only",
        )


def get_text(url: str, timeout: float = 5.0) -> str:
    """Give what a URL of a server on this machine holds.

    :raises urllib.error.URLError: no answer, or (as HTTPError) a status other than 2xx.
    """
    with _OPENER.open(url, timeout=timeout) as response:
        return str(response.read().decode("utf-8", "surrogateescape"))  # names, as in the index
