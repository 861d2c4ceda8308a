"""A thread that calls functions later: one for the process, there only while something is due."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable

logger = logging.getLogger("triton")
#: How long the thread waits for more work before it ends.
_IDLE_SECONDS = 10.0
#: So many calls are looked through for cancelled ones, and later twice as many as are left.
_TIDY_AT = 64


class DelayedCall:
    """A call that is due some time. Cancelling it lets go of its function at once."""

    __slots__ = ("due", "function")

    def __init__(self, due: float, function: Callable[[], object]) -> None:
        #: On the clock of ``time.monotonic``.
        self.due = due
        self.function: Callable[[], object] | None = function

    def cancel(self) -> None:
        """Do not make the call; harmless when it was made. One that is under way is not waited for."""
        self.function = None


class Caretaker:
    """Makes calls at their time, one after the other, on a daemon thread of its own.

    So a function that is called must be quick, and must not wait for a model.
    """

    def __init__(self) -> None:
        self._calls: list[tuple[float, int, DelayedCall]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._tidy_at = _TIDY_AT

    def call_later(self, seconds: float, function: Callable[[], object]) -> DelayedCall:
        """Call a function ``seconds`` from now; what it raises is logged."""
        call = DelayedCall(time.monotonic() + seconds, function)
        with self._changed:
            if len(self._calls) >= self._tidy_at:
                self._tidy()
            heapq.heappush(self._calls, (call.due, next(self._numbers), call))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="tbsdk-caretaker", daemon=True)
                self._thread.start()
            elif self._calls[0][2] is call:
                self._changed.notify()
        return call

    def _tidy(self) -> None:
        self._calls = [entry for entry in self._calls if entry[2].function is not None]
        heapq.heapify(self._calls)
        self._tidy_at = max(_TIDY_AT, 2 * len(self._calls))

    def _run(self) -> None:
        while (call := self._next()) is not None:
            function, call.function = call.function, None
            if function is None:
                continue
            try:
                function()
            except BaseException:  # nothing may end the thread that all others rely on
                logger.exception("a delayed call failed")
            del function  # or it is held until the next one

    def _next(self) -> DelayedCall | None:
        """Wait for the next call that is due; None when there was nothing for a while."""
        with self._changed:
            while True:
                while self._calls and self._calls[0][2].function is None:
                    heapq.heappop(self._calls)
                now = time.monotonic()
                if self._calls and self._calls[0][0] <= now:
                    return heapq.heappop(self._calls)[2]
                if not self._calls:
                    self._changed.wait(_IDLE_SECONDS)
                    if not self._calls:
                        self._thread = None
                        return None
                else:
                    self._changed.wait(self._calls[0][0] - now)
