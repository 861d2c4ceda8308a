"""A server over HTTP, with the standard library alone; coroutines use it through threads."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPResponse
from typing import Any
from urllib.parse import quote, urlencode

from triton_backend_sdk.errors import CancelledError
from triton_backend_sdk.runner import http_messages
from triton_backend_sdk.runner.binding import Signature
from triton_backend_sdk.runner.errors import NotSupportedError, of_http
from triton_backend_sdk.runner.http_connections import Cancelled, Connections, Exchange
from triton_backend_sdk.runner.http_operations import REQUESTS, Http
from triton_backend_sdk.runner.messages import InferRequest
from triton_backend_sdk.runner.result import Result
from triton_backend_sdk.runner.transport import Answer, Operation, Stream, Transport, in_thread

_OK = 200
#: Requests of coroutines that can be under way at once; more wait.
_THREADS = 64


class HttpTransport(Transport):
    """See :class:`Transport`.

    :param address: HOST:PORT.
    """

    protocol = "http"

    def __init__(self, address: str, *, secure: bool = False) -> None:
        self._connections = Connections(address, secure=secure)
        self._executor = ThreadPoolExecutor(_THREADS, "tbsdk-http")

    def call(self, operation: Operation) -> Any:
        """Do one of the client methods."""
        return self._call(operation, Exchange(operation.client_timeout))

    async def acall(self, operation: Operation) -> Any:
        """Do one of the client methods."""
        exchange = Exchange(operation.client_timeout)
        return await in_thread(self._executor, lambda: self._call(operation, exchange), exchange.cancel)

    def infer(self, request: InferRequest) -> Result:
        """Send a request and wait for its response."""
        return self._infer(request, Exchange(request.client_timeout))

    async def ainfer(self, request: InferRequest) -> Result:
        """Send a request and wait for its response."""
        exchange = Exchange(request.client_timeout)
        return await in_thread(self._executor, lambda: self._infer(request, exchange), exchange.cancel)

    def stream(self, request: InferRequest) -> Stream[Result]:
        """Send a request to the generate endpoint, which streams what flat JSON can say.

        :raises NotSupportedError: the request is more than that.
        """
        exchange = Exchange(request.client_timeout)
        signature = Signature(*(self._call(_of(request, name), exchange) for name in ("metadata", "config")))
        _check_generate(request, signature)
        return Stream(self._events(request, signature, exchange), exchange.cancel)

    def exchange(
        self,
        requests: Iterator[InferRequest],
        timeout: float | None,
        headers: Mapping[str, str] | None,
        compression: str | None,
    ) -> Stream[Answer]:
        """Refuse: only gRPC has streams of requests."""
        raise NotSupportedError("stream_infer is not supported over HTTP, only over gRPC")

    def rest(self) -> None:
        """Let go of what is idle."""
        self._connections.close()

    def close(self) -> None:
        """Let go of connections; calls under way end first."""
        self._connections.close()
        self._executor.shutdown(wait=False)

    def _call(self, operation: Operation, exchange: Exchange) -> Any:
        how = REQUESTS[operation.name]
        body = how.body(operation.arguments) if how.body is not None else None
        sent = [json.dumps(body).encode()] if body is not None else [b""] if how.method == "POST" else []
        path = _with_query(how.path(operation.arguments), operation.query)
        headers = {"Content-Type": "application/json", **(operation.headers or {})}
        status, _, answer = self._send(how.method, path, headers, sent, exchange)
        return _read(how, status, answer)

    def _infer(self, request: InferRequest, exchange: Exchange) -> Result:
        headers, buffers = http_messages.write(request)
        headers |= request.headers or {}
        sent, received = request.compression
        if sent not in (None, "none"):
            headers["Content-Encoding"], buffers = str(sent), [_compressed(str(sent), b"".join(buffers))]
        if received not in (None, "none"):
            headers["Accept-Encoding"] = str(received)
        path = _with_query(f"{_path(request)}/infer", request.query)
        status, given, answer = self._send("POST", path, headers, buffers, exchange)
        if status != _OK:
            raise _error(status, answer)
        return http_messages.read(given, answer)

    def _send(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: list[Any],
        exchange: Exchange,
    ) -> tuple[int, Mapping[str, str], bytes]:
        try:
            with self._connections.request(method, path, headers, body, exchange) as response:
                data = response.read()
                encoding = response.headers.get("Content-Encoding")
                status, given = response.status, response.headers
        except Cancelled:
            raise CancelledError("the request was cancelled") from None
        return status, given, _decompressed(encoding, data) if encoding else data  # type: ignore[return-value]

    def _events(self, request: InferRequest, signature: Signature, exchange: Exchange) -> Iterator[Result]:
        headers = {"Content-Type": "application/json", **(request.headers or {})}
        body = [http_messages.write_generate(request)]
        path = _with_query(f"{_path(request)}/generate_stream", request.query)
        sent = self._connections.request("POST", path, headers, body, exchange)
        try:
            with sent as response:
                if response.status != _OK:
                    raise _error(response.status, response.read())
                for line in _lines(response, exchange):
                    if line.startswith(b"data:"):
                        document = json.loads(line[5:])
                        if "error" in document:
                            raise of_http(400, document["error"])
                        yield http_messages.read_generate(document, signature)
        except Cancelled:
            raise CancelledError("the request was cancelled") from None


def _lines(response: HTTPResponse, exchange: Exchange) -> Iterator[bytes]:
    # Iterating over the response itself would take a connection that broke for its end.
    rest = b""
    while data := response.read1(1 << 16):
        *lines, rest = (rest + data).split(b"\n")
        yield from lines
        exchange.hurry()


def _of(request: InferRequest, what: str) -> Operation:
    given = {"model_name": request.model, "model_version": request.version}
    return Operation(f"get_model_{what}", given, request.headers)


def _check_generate(request: InferRequest, signature: Signature) -> None:
    batch = bool(signature.model.max_batch_size)
    for tensor in request.inputs:
        shape = tuple(tensor.shape)
        flat = tensor.array is not None and len(shape) <= 1 + batch and (not batch or shape[:1] in ((), (1,)))
        if not flat:
            raise NotSupportedError(
                f"input {tensor.name!r} has shape {list(shape)}: over HTTP a stream takes one flat row, as "
                "Triton's generate endpoint has no shapes; gRPC streams any tensor"
            )
    if request.outputs is not None:
        raise NotSupportedError("over HTTP a stream gives all outputs; gRPC can choose them")


def _path(request: InferRequest) -> str:
    version = f"/versions/{quote(request.version, safe='')}" if request.version else ""
    return f"v2/models/{quote(request.model, safe='')}{version}"


def _with_query(path: str, query: Mapping[str, Any] | None) -> str:
    return f"{path}?{urlencode(query, doseq=True)}" if query else path


def _read(how: Http, status: int, answer: bytes) -> Any:
    if how.gives == "health":
        return status == _OK
    if status != _OK:
        raise _error(status, answer)
    return json.loads(answer) if how.gives == "json" and answer else None


def _error(status: int, answer: bytes) -> Exception:
    try:
        message = json.loads(answer)["error"]
    except (ValueError, KeyError, TypeError):
        message = answer.decode(errors="replace") or f"HTTP status {status}"
    return of_http(status, message)


def _compressed(kind: str, data: bytes) -> bytes:
    import gzip  # noqa: PLC0415  seldom needed
    import zlib  # noqa: PLC0415  likewise

    if kind == "gzip":
        return gzip.compress(data)
    if kind == "deflate":
        return zlib.compress(data)
    raise ValueError(f"compression {kind!r} does not exist; there are gzip and deflate")


def _decompressed(kind: str, data: bytes) -> bytes:
    import gzip  # noqa: PLC0415  seldom needed
    import zlib  # noqa: PLC0415  likewise

    return gzip.decompress(data) if kind == "gzip" else zlib.decompress(data)
