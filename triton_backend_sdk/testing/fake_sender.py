"""Answers that come after ``execute``: senders and generators, driven as C drives them (``stream.c``)."""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from triton_backend_sdk.errors import CancelledError, InternalError, from_code
from triton_backend_sdk.sender import ResponseSender
from triton_backend_sdk.testing.fake_reply import PLUGIN_ERRORS, FakeResponse, Reply

if TYPE_CHECKING:
    from triton_backend_sdk.errors import TritonError
    from triton_backend_sdk.response import Response
    from triton_backend_sdk.testing.fake_request import FakeRequest

#: Seconds until lost senders are looked for.
_LOOK_S = 0.5


class FakeSender(ResponseSender):
    """Answers a fake request."""

    __slots__ = ("__weakref__", "_reply")

    def __init__(self, reply: Reply) -> None:
        if reply.answered or reply.deferred:
            already = "the request was already answered"
            taken = "the request's ResponseSender was already taken: there is one"
            raise InternalError(already if reply.answered else taken)
        self._reply = reply
        reply.deferred = True

    @property
    def closed(self) -> bool:  # type: ignore[override]
        """See :attr:`ResponseSender.closed`."""
        return self._reply.answered

    def send(self, response: Response | BaseException, final: bool = False) -> None:
        """See :meth:`ResponseSender.send`."""
        self._reply.send(response, final=final)

    def close(self) -> None:
        """See :meth:`ResponseSender.close`."""
        self._reply.close()

    def is_cancelled(self) -> bool:
        """See :meth:`ResponseSender.is_cancelled`."""
        return not self._reply.answered and self._reply.cancelled

    def _fail(self, code: int, message: str) -> None:
        self._reply.fail(from_code(code, message))

    def __del__(self) -> None:
        if hasattr(self, "_reply"):  # not where __init__ raised
            self._reply.close("the plugin dropped the request's ResponseSender without a response")


class Exchanges:
    """A batch under way: the plugin's answers become responses.

    :param execute: what is called with the batch.
    :param timeout: seconds after which a request that is not answered fails the test.
    """

    def __init__(
        self, execute: Callable[[list[Any]], Any], requests: Sequence[FakeRequest], timeout: float
    ) -> None:
        self._execute = execute
        self._requests = requests
        self._replies = [request._begin() for request in requests]
        self._timeout = timeout

    def run(self) -> list[Reply]:
        """Have all answered."""
        for _ in self._steps():
            pass
        deadline = time.monotonic() + self._timeout
        for index, reply in enumerate(self._replies):
            if not _wait(reply, deadline - time.monotonic()):
                self._unanswered(index)
        return self._replies

    def follow(self) -> Iterator[FakeResponse | TritonError]:
        """Give the only request's responses as they come; who leaves early has cancelled it."""
        [reply] = self._replies
        steps, seen, in_time = self._steps(), 0, True
        try:
            while in_time and not (reply.answered and seen == len(reply.results)):
                if next(steps, self) is self:
                    in_time = _wait(reply, self._timeout, seen)
                while seen < len(reply.results):
                    seen += 1
                    yield reply.results[seen - 1]
        finally:
            self._requests[0].cancel()
            for _ in steps:
                pass
            if not _wait(reply, self._timeout if in_time else 0):
                self._unanswered(0)

    def _steps(self) -> Iterator[None]:
        """Execute the batch, and again those that ask for it, and pump its generators."""
        live = list(zip(self._requests, self._replies, strict=True))
        deadline = time.monotonic() + self._timeout
        while live:
            yield from _execute_once(self._execute, live)
            live = [(request, reply) for request, reply in live if reply.reschedule()]
            for request, _ in live:
                request._again()
            if live and time.monotonic() > deadline:
                raise AssertionError(f"execute rescheduled a request for {self._timeout:g} s, without an end")

    def _unanswered(self, index: int) -> NoReturn:
        for request in self._requests:  # lets coroutines end
            request.cancel()
        raise AssertionError(
            f"request {index} was not answered within {self._timeout:g} s: its ResponseSender, or the "
            "coroutine that serves it, is still there, and in a server its client would wait for ever. "
            "Give FakeHost an answer_timeout if the plugin takes longer"
        )


def _wait(reply: Reply, timeout: float, seen: int | None = None) -> bool:
    """Wait as :meth:`Reply.wait` does; a sender that is lost in a cycle is found, as the server finds it."""
    if reply.wait(min(timeout, _LOOK_S), seen):
        return True
    gc.collect()
    return reply.wait(timeout - _LOOK_S, seen)


def _execute_once(
    execute: Callable[[list[Any]], Any], live: list[tuple[FakeRequest, Reply]]
) -> Iterator[None]:
    replies = [reply for _, reply in live]
    try:
        returned = _check_result(execute([request for request, _ in live]), len(live))
    except PLUGIN_ERRORS as error:
        for reply in replies:
            reply.fail(error)
        return
    generators = {
        reply: generator
        for index, (reply, item) in enumerate(zip(replies, returned, strict=True))
        if (generator := _take(reply, item, index)) is not None
    }
    del returned
    while generators:
        # In turns, so that no stream of a batch waits for the end of another.
        for reply in list(generators):
            if not _step(reply, generators[reply]):
                del generators[reply]
            yield


def _check_result(result: Any, count: int) -> list[Any]:
    if not isinstance(result, (list, tuple)):
        what = type(result).__name__
        raise InternalError(f"execute returned {what}; return a list with one Response per request")
    if len(result) != count:
        advice = "return one per request, in their order"
        raise InternalError(f"execute returned {len(result)} responses for {count} requests; {advice}")
    return list(result)


def _take(reply: Reply, item: Any, index: int) -> Any:
    """Take what execute gave for a request; gives it back if it is a generator, which is for later."""
    what = type(item).__name__
    if reply.deferred:
        if item is not None:
            advice = "whose ResponseSender it took; return None for it"
            reply.fail(InternalError(f"execute returned {what} for request {index}, {advice}"))
        return None
    try:
        if hasattr(type(item), "__next__"):
            if reply.decoupled:
                reply.deferred = True
                return item
            advice = "but the model is not decoupled: set model_transaction_policy { decoupled: true }"
            raise InternalError(f"execute returned a {what} for request {index}, {advice}")
        reply.send(item, index, final=True)
    except PLUGIN_ERRORS as error:
        reply.fail(error)
    return None


def _step(reply: Reply, generator: Any) -> bool:
    """Send one response of a generator; False: it was the last."""
    if reply.cancelled:
        _close(generator)
        reply.fail(CancelledError("the client cancelled the request"))
        return False
    try:
        item = next(generator)
    except StopIteration as end:
        if end.value is None:
            reply.close()
        else:
            what = type(end.value).__name__
            reply.fail(InternalError(f"execute is a generator and returned {what} at its end; yield it"))
        return False
    except PLUGIN_ERRORS as error:
        reply.fail(error)
        return False
    try:
        reply.send(item, final=False)
    except PLUGIN_ERRORS as error:
        _close(generator)
        reply.fail(error)
        return False
    if reply.answered:
        _close(generator)
    return not reply.answered


def _close(generator: Any) -> None:
    with contextlib.suppress(*PLUGIN_ERRORS):  # logged in a server
        getattr(generator, "close", lambda: None)()
