"""A server over gRPC: one channel for all threads and all event loops.

Calls of a thread wait in gRPC itself. Calls of a coroutine wait for a callback that gRPC makes on a thread of
its own, so that they need no loop but the one that awaits them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from triton_backend_sdk.runner import grpc_messages, grpc_operations
from triton_backend_sdk.runner.errors import of_grpc
from triton_backend_sdk.runner.messages import InferRequest
from triton_backend_sdk.runner.result import Result
from triton_backend_sdk.runner.transport import Answer, Operation, Stream, Transport
from triton_backend_sdk.tools import client_parts

#: gRPC would wait for two minutes before it looks again for a server that was away. Its "min" stays: that is
#: the time that a connection may take, TLS and all.
_RECONNECT = (("initial", 100), ("max", 2000))


class GrpcTransport(Transport):
    """See :class:`Transport`.

    :param address: HOST:PORT.
    :param secure: speak TLS, and trust what HTTPS trusts.
    """

    protocol = "grpc"

    def __init__(self, address: str, *, secure: bool = False) -> None:
        self._pb: Any = client_parts.load("tritonclient.grpc.service_pb2")
        services: Any = client_parts.load("tritonclient.grpc.service_pb2_grpc")
        self._grpc: Any = client_parts.load("grpc")
        options = client_parts.channel_options(address)
        options += [(f"grpc.{which}_reconnect_backoff_ms", ms) for which, ms in _RECONNECT]
        if secure:
            credentials = self._grpc.ssl_channel_credentials(_trusted())
            self._channel = self._grpc.secure_channel(address, credentials, options)
        else:
            self._channel = self._grpc.insecure_channel(address, options)
        self._stub = services.GRPCInferenceServiceStub(self._channel)
        self._infer = self._stub.ModelInfer
        self._plain = self._grpc.Compression.NoCompression
        self._closed = False

    def call(self, operation: Operation) -> Any:
        """Do one of the client methods."""
        method, message, read = self._prepare(operation)
        return read(self._wait(method, message, operation.client_timeout, _metadata(operation.headers)))

    async def acall(self, operation: Operation) -> Any:
        """Do one of the client methods."""
        method, message, read = self._prepare(operation)
        headers = _metadata(operation.headers)
        return read(await self._await(method, message, operation.client_timeout, headers))

    def infer(self, request: InferRequest) -> Result:
        """Send a request and wait for its response."""
        message = grpc_messages.write(self._pb, request)
        compression = self._compression(request.compression[0])
        headers = _metadata(request.headers)
        return grpc_messages.read(
            self._wait(self._infer, message, request.client_timeout, headers, compression)
        )

    async def ainfer(self, request: InferRequest) -> Result:
        """Send a request and wait for its response."""
        message = grpc_messages.write(self._pb, request)
        compression = self._compression(request.compression[0])
        headers = _metadata(request.headers)
        return grpc_messages.read(
            await self._await(self._infer, message, request.client_timeout, headers, compression)
        )

    def stream(self, request: InferRequest) -> Stream[Result]:
        """Send a request whose model gives any number of responses."""
        over = threading.Event()

        def requests() -> Iterator[Any]:
            yield grpc_messages.write(self._pb, request, empty_final=True)
            # Closing the sending side earlier would end the stream before its last response.
            over.wait()

        metadata = _metadata(request.headers)
        compression = self._compression(request.compression[0])
        call = self._begin(requests(), request.client_timeout, metadata, compression)

        def cancel() -> None:
            if not over.is_set():
                call.cancel()
            over.set()

        return Stream(self._until_final(call, over), cancel)

    def _until_final(self, call: Any, over: threading.Event) -> Iterator[Result]:
        try:
            for message in call:
                if message.error_message:
                    raise _stream_error(message.error_message)
                result = grpc_messages.read(message.infer_response)
                said = dict(result.parameters)
                final = said.pop(grpc_messages.FINAL, False) is True
                result.parameters = said
                # An empty response that is the last is the server's way to say so, unless it has parameters.
                if len(result.outputs) or said or not final:
                    if final:
                        over.set()
                    yield result
                if final:
                    break
            over.set()
            # The server's end, so that nothing is cancelled: Triton 24.10 would keep the model.
            for _ in call:
                pass
        except self._grpc.RpcError as error:
            raise _error(error) from None
        finally:
            over.set()

    def exchange(
        self,
        requests: Iterator[InferRequest],
        timeout: float | None,
        headers: Mapping[str, str] | None,
        compression: str | None,
    ) -> Stream[Answer]:
        """Send requests over one stream, and give all their responses and errors."""
        wrong: list[Exception] = []

        def messages() -> Iterator[Any]:
            try:
                for request in requests:
                    yield grpc_messages.write(self._pb, request)
            except Exception as error:  # gRPC would say no more than that there was one
                wrong.append(error)
                raise

        call = self._begin(messages(), timeout, _metadata(headers), self._compression(compression))
        return Stream(self._answers(call, wrong), call.cancel)

    def _begin(self, messages: Iterator[Any], timeout: float | None, metadata: Any, compression: Any) -> Any:
        try:
            return self._stub.ModelStreamInfer(
                messages, timeout=timeout, metadata=metadata, compression=compression
            )
        except ValueError as error:
            raise self._refused(error) from None

    def _answers(self, call: Any, wrong: list[Exception]) -> Iterator[Answer]:
        try:
            for message in call:
                if message.error_message:
                    yield None, _stream_error(message.error_message)
                else:
                    yield grpc_messages.read(message.infer_response), None
        except self._grpc.RpcError as error:
            raise (wrong[0] if wrong else _error(error)) from None

    def close(self) -> None:
        """Let go of connections; calls under way fail."""
        self._closed = True
        self._channel.close()

    def _prepare(self, operation: Operation) -> tuple[Any, Any, Callable[[Any], Any]]:
        rpc = grpc_operations.RPCS[operation.name]
        message = grpc_operations.write(self._pb, rpc, operation.arguments)
        read = rpc.read if operation.as_json else lambda found: found
        return getattr(self._stub, rpc.name), message, read

    def _wait(
        self, method: Any, message: Any, timeout: float | None, metadata: Any, compression: Any = None
    ) -> Any:
        try:
            return method(message, timeout=timeout, metadata=metadata, compression=compression)
        except self._grpc.RpcError as error:
            raise _error(error) from None
        except ValueError as error:
            raise self._refused(error) from None

    async def _await(
        self, method: Any, message: Any, timeout: float | None, metadata: Any, compression: Any = None
    ) -> Any:
        loop = asyncio.get_running_loop()
        done = loop.create_future()

        def settle() -> None:
            if not done.done():
                done.set_result(None)

        def finished(_: Any) -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(settle)

        try:
            call = method.future(message, timeout=timeout, metadata=metadata, compression=compression)
        except ValueError as error:
            raise self._refused(error) from None
        call.add_done_callback(finished)
        try:
            await done
        except asyncio.CancelledError:
            call.cancel()
            raise
        try:
            return call.result()
        except self._grpc.RpcError as error:
            raise _error(error) from None
        except self._grpc.FutureCancelledError as error:
            raise of_grpc("CANCELLED", "the connection was closed during the call") from error

    def _refused(self, error: ValueError) -> Exception:
        """Give what a ValueError of gRPC means: mostly that another thread has closed the channel."""
        return of_grpc("CANCELLED", "the connection was closed") if self._closed else error

    def _compression(self, name: str | None) -> Any:
        if name is None:
            return self._plain
        kinds = self._grpc.Compression
        try:
            return {"gzip": kinds.Gzip, "deflate": kinds.Deflate, "none": self._plain}[name.lower()]
        except KeyError:
            raise ValueError(f"compression {name!r} does not exist; there are gzip and deflate") from None


def _trusted() -> bytes | None:
    """Give the certificates that OpenSSL trusts: gRPC has a list of its own, and knows no SSL_CERT_FILE."""
    file = ssl.get_default_verify_paths().cafile
    if file is None or "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH" in os.environ:
        return None
    return Path(file).read_bytes()


def _metadata(headers: Mapping[str, str] | None) -> list[tuple[str, str]] | None:
    return [(name.lower(), value) for name, value in headers.items()] if headers else None


def _error(error: Any) -> Exception:
    return of_grpc(error.code().name, error.details() or "")


def _stream_error(text: str) -> Exception:
    """Make the exception of a response of a stream, which carries its code only as words before the text."""
    status = text.partition(":")[0].strip() if text.startswith("[") else "INVALID_ARGUMENT"
    return of_grpc(status, text)
