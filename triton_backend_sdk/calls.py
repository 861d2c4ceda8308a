"""A call to another model under way, and its response.

What runs in the server is C (``_ffi/src/call.h`` lists the parts); here is how an event loop awaits it. The
called model's thread writes to a file descriptor, one per loop, and the loop wakes whoever waits: no thread
waits for a call, and the called model never waits for the GIL.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import AsyncIterator, Generator, Iterator
from typing import TYPE_CHECKING, Any

from triton_backend_sdk.tensors import Tensors

if TYPE_CHECKING:
    import asyncio

#: Seconds between two looks at whether the request that a call is made for was cancelled.
_PARENT_INTERVAL = 0.01


class InferResponse(Tensors):
    """What a called model answered: a mapping from output name to :class:`Tensor`.

    The tensors are the very memory that the model wrote. It is yours: writable, and kept for as long as you
    keep a tensor or an array made from one, whatever becomes of the model.
    """

    __slots__ = ()

    #: Who answered.
    model: str
    version: int
    #: The request id, as given to the call.
    id: str
    #: The response's parameters with their types. See TRITONSERVER_InferenceResponseParameter.
    parameters: dict[str, str | int | bool | float]

    def __repr__(self) -> str:
        return f"<InferResponse of {self.model!r} {list(self)}>"


class Call:
    """A call that :meth:`Server.start` began: wait for it with :meth:`result`, or ``await`` it.

    Dropping it cancels what is still under way.
    """

    __slots__ = ()

    def result(self, timeout: float | None = None) -> InferResponse:
        """Wait for the response, without the GIL. It may be asked for again.

        :param timeout: seconds to wait; the call goes on afterwards. For ever if not given.
        :raises TritonError: the model's error, with its code, and those of :class:`Server`.
        :raises TimeoutError: not yet; or the call's own timeout is over, and the call cancelled.
        """
        raise NotImplementedError

    def done(self) -> bool:
        """Say whether :meth:`result` would return, or raise, at once."""
        raise NotImplementedError

    def detach(self) -> None:
        """Let the call go its way to the end: nothing cancels it any more, not even dropping it."""
        raise NotImplementedError

    def cancel(self) -> None:
        """Ask the model to stop, and wait no longer. See TRITONSERVER_InferenceRequestCancel."""
        raise NotImplementedError

    def __await__(self) -> Generator[Any, None, InferResponse]:
        return arrival(self).__await__()


class Stream:
    """The responses of a decoupled model, as they come: for ``for`` or ``async for``.

    Dropping it, such as by breaking out of ``for response in server.stream(...)``, cancels the call; so does
    the end of a ``with`` block. Responses that come faster than they are taken wait in memory.
    """

    __slots__ = ()

    def __iter__(self) -> Iterator[InferResponse]:
        return self

    def __next__(self) -> InferResponse:
        """Wait for the next response, without the GIL.

        :raises TritonError: the model answered with an error, with its code; after one more may come.
        :raises TimeoutError: the call's timeout is over, and the call cancelled.
        """
        raise NotImplementedError

    def done(self) -> bool:
        """Say whether the last response has come, or the call was cancelled."""
        raise NotImplementedError

    def detach(self) -> None:
        """Let the call go its way to the end: nothing cancels it any more, not even dropping it."""
        raise NotImplementedError

    def ended_bare(self) -> bool:
        """Say whether the stream's end came by itself, after its last response or error.

        See TRITONSERVER_RESPONSE_COMPLETE_FINAL.
        """
        raise NotImplementedError

    def cancel(self, *, drain: bool = False) -> None:
        """Ask the model to stop; the iteration ends. See TRITONSERVER_InferenceRequestCancel.

        :param drain: let it go on until the model has ended it, such as with an error of code CANCELLED.
        """
        raise NotImplementedError

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *exception: object) -> None:
        self.cancel()

    def __aiter__(self) -> AsyncIterator[InferResponse]:
        return self

    async def __anext__(self) -> InferResponse:
        return await arrival(self)

    async def __aenter__(self) -> Stream:
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.cancel()


async def arrival(call: Any) -> InferResponse:
    """Wait on the running loop until a call has news, and give them; cancelling that cancels the call."""
    try:
        while (news := call._poll()) is None:
            await _bell().wait(call)
    except BaseException as error:
        if type(error).__name__ == "CancelledError":
            call.cancel()
        raise
    finally:
        del call  # a task that failed keeps its frames, until the garbage collector comes
    response: InferResponse = news
    return response


class _Bell:
    """Wakes what awaits calls on one event loop; it must not hold the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, mailbox: Any) -> None:
        self._mailbox = mailbox
        self._tokens = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[None]] = {}
        #: Calls made for a request, whose cancellation nobody tells us of.
        self._children: dict[int, Any] = {}
        self._looking = False
        loop.add_reader(mailbox.fileno(), self._ring)

    async def wait(self, call: Any) -> None:
        """Wait until the call has news, is late, or its parent is cancelled."""
        token = next(self._tokens)
        if not call._arm(self._mailbox, token):
            return
        import asyncio  # noqa: PLC0415  it is there, as a loop runs

        loop = asyncio.get_running_loop()
        self._waiting[token] = future = loop.create_future()
        seconds, has_parent = call._watch()
        timer = None if seconds is None else loop.call_later(max(seconds, 0.0), _resolve, future)
        if has_parent:
            self._watch(loop, token, call)
        try:
            await future
        finally:
            call._disarm()
            del self._waiting[token], call, future
            self._children.pop(token, None)
            if timer is not None:
                timer.cancel()

    def _ring(self) -> None:
        for token in self._mailbox.drain():
            if future := self._waiting.get(token):
                _resolve(future)

    def _watch(self, loop: asyncio.AbstractEventLoop, token: int, call: Any) -> None:
        if not self._looking:
            self._looking = True
            loop.call_later(_PARENT_INTERVAL, self._look, weakref.ref(loop))
        self._children[token] = call

    def _look(self, loop: weakref.ref[asyncio.AbstractEventLoop]) -> None:
        for token, call in self._children.items():
            if call._parent_cancelled():
                _resolve(self._waiting[token])
        running = loop()
        self._looking = bool(self._children)
        if self._looking and running is not None:
            running.call_later(_PARENT_INTERVAL, self._look, loop)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


#: The loop holds its bell, as a reader; a bell holds its loop, by the futures of those who wait.
_bells: weakref.WeakKeyDictionary[Any, weakref.ref[_Bell]] = weakref.WeakKeyDictionary()
#: C's Mailbox, once the native module is there.
_mailbox_type: Any = None


def install(mailbox_type: Any) -> None:
    """Tell where mailboxes come from."""
    global _mailbox_type  # noqa: PLW0603  one native module per process
    _mailbox_type = mailbox_type


def _bell() -> _Bell:
    import asyncio  # noqa: PLC0415  it is there, as a loop runs

    loop = asyncio.get_running_loop()
    known = _bells.get(loop)
    bell = known() if known is not None else None
    if bell is None:
        bell = _Bell(loop, _mailbox_type())
        _bells[loop] = weakref.ref(bell)
    return bell
