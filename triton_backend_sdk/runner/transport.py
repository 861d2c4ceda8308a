"""What a Runner needs of a protocol; each is in a module ``transport_*.py``."""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from triton_backend_sdk.runner.messages import InferRequest
from triton_backend_sdk.runner.result import Result

if TYPE_CHECKING:
    from triton_backend_sdk.runner.errors import ServerEndedError

T = TypeVar("T")
#: A response or an error of a stream of requests; the other is None.
Answer = tuple[Result | None, Exception | None]


@dataclass(frozen=True)
class Operation:
    """A call of the server other than inference, by the name of its client method."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] | None = None
    #: Of the URL; HTTP only.
    query: Mapping[str, Any] | None = None
    #: Seconds.
    client_timeout: float | None = None
    #: False: give the protocol's own message where it has one.
    as_json: bool = True

    @property
    def model(self) -> str | None:
        """The model that it is about."""
        return self.arguments.get("model_name") or None


class Stream(Iterator[T]):
    """The responses of one request as they come; leaving a ``with`` block early cancels the request."""

    def __init__(self, responses: Iterator[T], cancel: Callable[[], object]) -> None:
        self._responses = responses
        self._cancel = cancel
        self._over = False

    def __next__(self) -> T:
        try:
            return next(self._responses)
        except BaseException:
            self._over = True
            raise

    def cancel(self) -> None:
        """Ask for the request's end. Harmless when it is over."""
        if not self._over:
            self._cancel()

    close = cancel

    def __enter__(self) -> Stream[T]:
        return self

    def __exit__(self, *exception: object) -> None:
        self.cancel()

    def __del__(self) -> None:
        # A loop that was left early holds no reference any more.
        with contextlib.suppress(Exception):
            self.cancel()


class Transport(ABC):
    """One server over one protocol; methods may be called from any thread, the async ones from any loop."""

    protocol: str
    #: Set when the server that this leads to has died.
    ended: ServerEndedError | None = None

    @abstractmethod
    def call(self, operation: Operation) -> Any:
        """Do one of the client methods."""

    @abstractmethod
    async def acall(self, operation: Operation) -> Any:
        """Do one of the client methods."""

    @abstractmethod
    def infer(self, request: InferRequest) -> Result:
        """Send a request and wait for its response."""

    @abstractmethod
    async def ainfer(self, request: InferRequest) -> Result:
        """Send a request and wait for its response."""

    @abstractmethod
    def stream(self, request: InferRequest) -> Stream[Result]:
        """Send a request whose model gives any number of responses."""

    @abstractmethod
    def exchange(
        self,
        requests: Iterator[InferRequest],
        timeout: float | None,
        headers: Mapping[str, str] | None,
        compression: str | None,
    ) -> Stream[Answer]:
        """Send requests over one stream, and give all their responses and errors."""

    def rest(self) -> None:  # noqa: B027  most have nothing to let go of
        """Let go of what is idle: a server that ends waits for connections, not only for calls."""

    @abstractmethod
    def close(self) -> None:
        """Let go of connections; calls under way may fail."""


async def in_thread(executor: Executor, function: Callable[[], T], cancel: Callable[[], None]) -> T:
    """Run a blocking function for the running loop; a cancelled task cancels the call."""
    future = executor.submit(function)
    try:
        return await asyncio.wrap_future(future)
    except asyncio.CancelledError:
        cancel()
        raise


async def pump(executor: Executor, make: Callable[[], Stream[T]]) -> AsyncIterator[T]:
    """Iterate in a thread what blocks, for the running loop."""
    loop = asyncio.get_running_loop()
    items: asyncio.Queue[tuple[T | None, BaseException | None]] = asyncio.Queue()
    made: Future[Stream[T]] = Future()

    def put(item: T | None, error: BaseException | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(items.put_nowait, (item, error))

    def run() -> None:
        try:
            stream = make()
        except BaseException as error:
            made.set_exception(error)
            return
        made.set_result(stream)
        try:
            for item in stream:
                put(item, None)
            put(None, StopAsyncIteration())
        except BaseException as error:
            put(None, error)

    executor.submit(run)
    stream = await asyncio.wrap_future(made)
    try:
        while True:
            item, error = await items.get()
            if isinstance(error, StopAsyncIteration):
                return
            if error is not None:
                raise error
            yield item  # type: ignore[misc]  # an item comes without an error
    finally:
        stream.cancel()
