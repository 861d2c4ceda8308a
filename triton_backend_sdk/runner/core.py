"""What a Runner and its models share: the way to the server, and what is known of the models."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn, TypeAlias, TypeVar

from triton_backend_sdk.errors import CancelledError, NotFoundError
from triton_backend_sdk.runner.arguments import as_headers, as_timeout
from triton_backend_sdk.runner.arrays import CASTS, Cast
from triton_backend_sdk.runner.binding import BATCHES, Batch, Signature
from triton_backend_sdk.runner.errors import ServerLostError, not_found, timed_out
from triton_backend_sdk.runner.lifecycle import Backing
from triton_backend_sdk.runner.messages import InferRequest
from triton_backend_sdk.runner.result import Result
from triton_backend_sdk.runner.transport import Answer, Operation, Stream, Transport, in_thread, pump

#: After these a model may be another one.
_CHANGES = ("load_model", "unload_model")
#: Errors of which more is known here: of a server that went away, of a model that is another one now, of a
#: caller's time. A connection is closed soon after its server has died, which cancels what is left.
_TELLING = (ServerLostError, NotFoundError, CancelledError, TimeoutError)
#: Streams of coroutines that can be under way at once; more wait.
_THREADS = 64
Asked = TypeVar("Asked", Operation, InferRequest)
Either: TypeAlias = Operation | InferRequest
Item = TypeVar("Item")


class RunnerCore:
    """The one behind a Runner."""

    def __init__(
        self,
        backing: Backing,
        *,
        cast: Cast,
        batch: Batch,
        headers: Mapping[str, str] | None,
        client_timeout: float | None,
    ) -> None:
        if cast not in CASTS or batch not in BATCHES:
            raise ValueError(
                f"cast is one of {', '.join(CASTS)}, batch exact or auto: got {cast!r}, {batch!r}"
            )
        self.backing = backing
        self.cast = cast
        self.batch = batch
        self.headers = as_headers(headers) if headers else None
        self.client_timeout = as_timeout(client_timeout)
        self._signatures: dict[tuple[str, str], Signature] = {}
        self._executor: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        # Models keep this object alive, not the Runner: `Runner(...).add.run(x)` is fine.
        self._streams: weakref.WeakSet[Stream[Any]] = weakref.WeakSet()
        self._finalizer = weakref.finalize(self, _end, backing, self._streams)
        _living.add(self)

    def forked(self) -> None:
        """Start anew in a child process, and leave the parent what is the parent's."""
        self._finalizer.detach()
        self._of_parent = self.backing  # kept: its end would be the parent's
        self.backing = self.backing.forked()
        self._streams = weakref.WeakSet()
        self._finalizer = weakref.finalize(self, _end, self.backing, self._streams)
        self._lock, self._executor = threading.Lock(), None

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Runner cannot be pickled: make one in the other process, with url=runner.url")

    # -- signatures --

    def signature(self, model: str, version: str) -> Signature:
        """Give a model's signature; the server is asked once."""
        return self._signatures.get((model, version)) or self.fresh_signature(model, version)

    async def asignature(self, model: str, version: str) -> Signature:
        """Give a model's signature; the server is asked once."""
        return self._signatures.get((model, version)) or await self.afresh_signature(model, version)

    def fresh_signature(self, model: str, version: str) -> Signature:
        """Ask the server for a model's signature."""
        try:
            metadata, config = (self.call(asked) for asked in self._questions(model, version))
        except NotFoundError as error:
            with contextlib.suppress(Exception):  # a server may keep its index to itself
                error = not_found(error, model, self.call(self._index()))
            raise error from None
        return self._keep(model, version, metadata, config)

    async def afresh_signature(self, model: str, version: str) -> Signature:
        """Ask the server for a model's signature."""
        try:
            metadata, config = [await self.acall(asked) for asked in self._questions(model, version)]
        except NotFoundError as error:
            with contextlib.suppress(Exception):
                error = not_found(error, model, await self.acall(self._index()))
            raise error from None
        return self._keep(model, version, metadata, config)

    def forget(self, model: str) -> None:
        """Forget what is known of a model."""
        for key in [key for key in list(self._signatures) if key[0] == model]:
            self._signatures.pop(key, None)

    def _questions(self, model: str, version: str) -> list[Operation]:
        given = {"model_name": model, "model_version": version}
        return [
            Operation(f"get_model_{what}", given, self.headers, client_timeout=self.client_timeout)
            for what in ("metadata", "config")
        ]

    def _index(self) -> Operation:
        return Operation("get_model_repository_index", {}, self.headers, client_timeout=self.client_timeout)

    def _keep(self, model: str, version: str, metadata: Any, config: Any) -> Signature:
        found = self._signatures[model, version] = Signature(metadata, config)
        return found

    # -- calls --

    def completed(self, asked: Asked) -> Asked:
        """Add the Runner's headers and timeout to what a caller said."""
        if self.headers is None and self.client_timeout is None:
            return asked
        timeout = self.client_timeout if asked.client_timeout is None else asked.client_timeout
        return dataclasses.replace(
            asked, headers={**(self.headers or {}), **(asked.headers or {})}, client_timeout=timeout
        )

    def call(self, operation: Operation) -> Any:
        """Do one of the client methods."""
        transport = self.backing.transport()
        try:
            return transport.call(operation)
        except _TELLING as error:
            self._failed(transport, error, operation)
        finally:
            self._changed(operation)

    async def acall(self, operation: Operation) -> Any:
        """Do one of the client methods."""
        transport = await self._atransport()
        try:
            return await transport.acall(operation)
        except _TELLING as error:
            await self._afailed(transport, error, operation)
        finally:
            self._changed(operation)

    def infer(self, request: InferRequest) -> Result:
        """Send a request and wait for its response."""
        transport = self.backing.transport()
        try:
            return transport.infer(request)
        except _TELLING as error:
            self._failed(transport, error, request)

    async def ainfer(self, request: InferRequest) -> Result:
        """Send a request and wait for its response."""
        transport = await self._atransport()
        try:
            return await transport.ainfer(request)
        except _TELLING as error:
            await self._afailed(transport, error, request)

    def stream(self, request: InferRequest) -> Stream[Result]:
        """Send a request whose model gives any number of responses."""
        transport = self.backing.transport()
        return self._open(transport, request, lambda: transport.stream(request))

    def astream(self, request: InferRequest) -> AsyncIterator[Result]:
        """Send a request whose model gives any number of responses."""
        return pump(self._threads(), lambda: self.stream(request))

    def exchange(
        self,
        requests: Iterator[InferRequest],
        timeout: float | None,
        headers: Mapping[str, str] | None,
        compression: str | None,
    ) -> Stream[Answer]:
        """Send requests over one stream, and give all their responses and errors."""
        transport = self.backing.transport()
        given = {**(self.headers or {}), **(headers or {})}
        asked = Operation("stream_infer", client_timeout=timeout)
        return self._open(transport, asked, lambda: transport.exchange(requests, timeout, given, compression))

    def aexchange(
        self,
        requests: Iterator[InferRequest],
        timeout: float | None,
        headers: Mapping[str, str] | None,
        compression: str | None,
    ) -> AsyncIterator[Answer]:
        """Send requests over one stream, and give all their responses and errors."""
        return pump(self._threads(), lambda: self.exchange(requests, timeout, headers, compression))

    def close(self) -> None:
        """Let go of everything."""
        self._finalizer()
        with self._lock:
            executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait=False)

    def _open(self, transport: Transport, asked: Either, begin: Callable[[], Stream[Item]]) -> Stream[Item]:
        """Begin a stream whose errors tell what really happened."""

        @contextlib.contextmanager
        def told() -> Iterator[None]:
            try:
                yield
            except _TELLING as error:
                self._failed(transport, error, asked, is_stream=True)

        def items() -> Iterator[Item]:
            with told():
                yield from stream

        with told():
            stream = begin()
        made = Stream(items(), stream.cancel)
        with self._lock:
            self._streams.add(made)
        return made

    def _threads(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._executor is None:
                self._executor = ThreadPoolExecutor(_THREADS, "tbsdk-runner")
            return self._executor

    async def _atransport(self) -> Transport:
        """Get the transport without blocking the loop: it may have to start a server first."""
        if self.backing.ready:
            return self.backing.transport()
        return await in_thread(self._threads(), self.backing.transport, lambda: None)

    def _failed(
        self,
        transport: Transport,
        error: Exception,
        asked: Either,
        *,
        is_stream: bool = False,
    ) -> NoReturn:
        if isinstance(error, TimeoutError):
            raise timed_out(error, asked.client_timeout, asked.model, is_stream=is_stream) from None
        if self._is_lost(transport, error, asked.model):
            real = self.backing.explain(transport, error)
            if real is not error:
                raise real from error
        raise error

    async def _afailed(self, transport: Transport, error: Exception, asked: Either) -> NoReturn:
        if isinstance(error, TimeoutError):
            raise timed_out(error, asked.client_timeout, asked.model) from None
        if self._is_lost(transport, error, asked.model):
            threads = self._threads()
            real = await in_thread(threads, lambda: self.backing.explain(transport, error), lambda: None)
            if real is not error:
                raise real from error
        raise error

    def _is_lost(self, transport: Transport, error: Exception, model: str | None) -> bool:
        if isinstance(error, NotFoundError) and model:
            self.forget(model)
        return isinstance(error, ServerLostError) or transport.ended is not None

    def _changed(self, operation: Operation) -> None:
        if operation.name in _CHANGES:
            # An ensemble's inputs may change with its parts': all are asked anew.
            self._signatures.clear()


def _end(backing: Backing, streams: weakref.WeakSet[Stream[Any]]) -> None:
    # A server waits for streams, also for those that nobody reads any more.
    for stream in list(streams):
        stream.cancel()
    backing.close()


_living: weakref.WeakSet[RunnerCore] = weakref.WeakSet()


def _forked() -> None:
    for core in list(_living):
        core.forked()


os.register_at_fork(after_in_child=_forked)
