"""One thread for all hooks of an instance, for what belongs to the thread that made it.

A sqlite connection, an event loop, a CUDA context, a ``threading.local``: made in ``initialize``, they are
of no use to ``execute``, which Triton calls on another thread. The model parameter ``instance_thread: "own"``
runs both, and ``warmup`` and ``finalize``, on one thread of the instance's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from triton_backend_sdk.errors import InvalidArgError, UnavailableError

if TYPE_CHECKING:
    from triton_backend_sdk.model import Model

T = TypeVar("T")


class _Call:
    """A function on its way to the thread, and its result or exception on their way back."""

    __slots__ = ("done", "error", "result", "work")

    def __init__(self, work: Callable[[], Any]) -> None:
        self.work: Callable[[], Any] | None = work
        self.result: Any = None
        self.error: BaseException | None = None
        self.done = threading.Lock()
        self.done.acquire()

    def run(self) -> None:
        assert self.work is not None
        try:
            self.result = self.work()
        except BaseException as error:
            self.error = error
        self.work = None  # it holds the batch, and the caller may be gone before this object is
        self.done.release()

    def take(self) -> Any:
        self.done.acquire()
        error, self.error = self.error, None  # its traceback holds this object
        if error is None:
            return self.result
        try:
            raise error
        finally:
            del error


class _Queue:
    """The way there and back in Python, for the fake host; in the server it is C, and 10 us faster."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False

    def call(self, work: Callable[[], Any]) -> tuple[Any] | None:
        call = _Call(work)
        with self._lock:
            if self._closed:
                return None
            self._calls.put(call)
        return (call.take(),)

    def serve(self) -> None:
        while (call := self._calls.get()) is not None:
            call.run()
            del call  # while waiting for the next, nothing of a batch may be held here

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._calls.put(None)


class _Handoff:
    """The same in C (``_ffi/src/handoff.c``)."""

    def __init__(self, hot: Any) -> None:
        handoff = hot.handoff_new()
        self.call: Callable[[Callable[[], Any]], tuple[Any] | None] = partial(hot.handoff_call, handoff)
        self.serve: Callable[[], None] = partial(hot.handoff_serve, handoff)
        self.close: Callable[[], None] = partial(hot.handoff_close, handoff)


class InstanceThread:
    """Calls functions on a thread of its own, one after another, and waits for each.

    Results and exceptions come back to the caller, with their tracebacks. A call from the thread itself is a
    plain call.

    :param hot: the C side; None without a server.
    """

    def __init__(self, name: str, hot: Any = None) -> None:
        self._way = _Queue() if hot is None else _Handoff(hot)
        # A daemon, as Python's exit must not wait for a hook that hangs.
        self._thread = threading.Thread(target=self._way.serve, name=name, daemon=True)
        self._thread.start()

    def call(self, function: Callable[..., T], *arguments: Any, **keywords: Any) -> T:
        """Call the function there.

        :raises UnavailableError: the thread has ended.
        """
        if threading.get_ident() == self._thread.ident:  # current_thread() would note Triton's for ever
            return function(*arguments, **keywords)
        answer = self._way.call(partial(function, *arguments, **keywords))
        if answer is None:
            raise UnavailableError(f"{self._thread.name}: this instance's thread has ended")
        result: T = answer[0]
        return result

    def stop(self) -> None:
        """End the thread, after what it was given before."""
        self._way.close()
        if threading.get_ident() != self._thread.ident:
            self._thread.join()


class _Stream:
    """A generator of responses, each made on the instance's thread; a batch comes between two of them."""

    def __init__(self, thread: InstanceThread, responses: Iterator[Any]) -> None:
        self._thread = thread
        self._responses = responses

    def __iter__(self) -> _Stream:
        return self

    def __next__(self) -> Any:
        return self._thread.call(next, self._responses)

    def close(self) -> None:
        if hasattr(self._responses, "close"):
            self._thread.call(self._responses.close)


def streams_on(thread: InstanceThread, execute: Callable[[list[Any]], Any]) -> Callable[[list[Any]], Any]:
    """Let the generators that ``execute`` gives run on the thread too, not on that which sends for them."""

    def call(requests: list[Any]) -> Any:
        given = execute(requests)
        if not isinstance(given, (list, tuple)):
            return given
        return [_Stream(thread, item) if isinstance(item, Iterator) else item for item in given]

    return call


def wants_own_thread(model: Model) -> bool:
    """Read the parameter ``instance_thread``: ``own``, or ``triton`` (the default).

    :raises InvalidArgError: it says something else.
    """
    chosen = model.parameters.get_str("instance_thread", "triton").strip().lower()
    if chosen not in ("own", "triton"):
        raise InvalidArgError(
            f"parameter 'instance_thread' of model '{model.name}' is '{chosen}'; it must be 'own' or 'triton'"
        )
    return chosen == "own"
