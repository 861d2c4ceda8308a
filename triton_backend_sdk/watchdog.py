"""A watchdog over execute: when one hangs, the log says where; off unless the model's config asks for it."""

from __future__ import annotations

import faulthandler
import logging
import sys
import threading
import time
import traceback
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from triton_backend_sdk.caretaker import Caretaker, DelayedCall
from triton_backend_sdk.errors import InvalidArgError
from triton_backend_sdk.hookspecs import hookimpl

if TYPE_CHECKING:
    from triton_backend_sdk.model_instance import ModelInstance
    from triton_backend_sdk.request import Request

logger = logging.getLogger("triton")
PARAMETER = "execute_watchdog_seconds"
_STANDARD_ERROR = 2
#: So much is told of many that are late at once.
_IDS, _COROUTINES = 20, 3
#: Attributes of what can be awaited: its frame, and what it awaits itself.
_AWAITING = (("cr_frame", "cr_await"), ("gi_frame", "gi_yieldfrom"), ("ag_frame", "ag_await"))


class Watchdogs:
    """Makes the watchdogs of a process.

    :param watch_gil: dump the stacks to standard error also when none of Python's own threads can do it, as C
        code keeps the GIL; for a process that is nobody else's, as there is one such alarm in each.
    """

    def __init__(self, caretaker: Caretaker, *, watch_gil: bool) -> None:
        self._caretaker = caretaker
        self._gil_watch = _GilWatch(caretaker) if watch_gil else None

    def of(self, instance: ModelInstance) -> Watchdog | None:
        """Give the plugin that watches an instance, if its model wants one.

        :raises InvalidArgError: the parameter is no number, or negative.
        """
        seconds = instance.model.parameters.get_float(PARAMETER, 0.0)
        if seconds < 0:
            raise InvalidArgError(f"parameter '{PARAMETER}' of model '{instance.model.name}' is negative")
        return Watchdog(instance, seconds, self._caretaker, self._gil_watch) if seconds else None


@dataclass(eq=False)
class Run:
    """An execute that has begun."""

    start: float
    #: Not the requests, which this would keep.
    ids: list[str]
    count: int
    #: The thread that it is on, of one that is no coroutine.
    thread: int | None = None
    #: The coroutine, once it has begun.
    coroutine: Any = None
    told: bool = False


class Watchdog:
    """Log all Python stacks when an execute takes longer than a time; once for each that does.

    Turned on by ``parameters { key: "execute_watchdog_seconds" value { string_value: "30" } }``.
    """

    def __init__(
        self, instance: ModelInstance, seconds: float, caretaker: Caretaker, gil_watch: _GilWatch | None
    ) -> None:
        self._instance = instance
        self._seconds = seconds
        self._caretaker = caretaker
        self._gil_watch = gil_watch
        self._runs: dict[int, Run] = {}
        self._look: DelayedCall | None = None
        self._done = False
        #: The hook only starts coroutines, and may wait until it can: they are watched themselves.
        self.starts_coroutines = False

    @hookimpl(wrapper=True)
    def execute(self, requests: list[Request]) -> Generator[None, Any, Any]:
        """Note what runs since when: that is all it costs."""
        if self.starts_coroutines:
            return (yield)
        run = self.begin(requests)
        run.thread = threading.get_ident()
        try:
            return (yield)
        finally:
            self.end(run)

    @hookimpl(wrapper=True)
    def finalize(self) -> Generator[None, Any, Any]:
        """Watch no more."""
        try:
            return (yield)
        finally:
            self._done = True
            if self._look is not None:
                self._look.cancel()
                if self._gil_watch is not None:
                    self._gil_watch.remove(self._seconds)

    def begin(self, requests: Sequence[Request]) -> Run:
        """Watch an execute from now on."""
        if self._look is None:
            if self._gil_watch is not None:
                self._gil_watch.add(self._seconds)
            self._look = self._caretaker.call_later(self._seconds, self._look_now)
        ids = [request.id for request in requests]
        run = Run(time.monotonic(), [one for one in ids if one], len(ids))
        self._runs[id(run)] = run
        return run

    def end(self, run: Run) -> None:
        """Stop watching it."""
        self._runs.pop(id(run), None)

    def _look_now(self) -> None:
        if self._done:
            return
        now = time.monotonic()
        waiting = [run for run in list(self._runs.values()) if not run.told]
        late = [run for run in waiting if now - run.start >= self._seconds]
        if late:
            self._tell(late, now)
        starts = [run.start for run in waiting if not run.told]
        wait = min(starts) + self._seconds - now if starts else self._seconds
        # Not sooner: where all are late, one message tells of many.
        pause = min(self._seconds / 4, 1.0)
        self._look = self._caretaker.call_later(max(wait, pause), self._look_now)

    def _tell(self, late: list[Run], now: float) -> None:
        for run in late:
            run.told = True
        ids = [one for run in late for one in run.ids]
        more = f" and {len(ids) - _IDS} more" if len(ids) > _IDS else ""
        parts = [coroutine_stack(run.coroutine) for run in late[:_COROUTINES] if run.coroutine is not None]
        self._instance.logger.error(
            "%s: execute of %d request(s)%s has been running for %.1f s (%s is %g)\n%s",
            self._instance.name,
            sum(run.count for run in late),
            f" {ids[:_IDS]}{more}" if ids else "",
            now - late[0].start,
            PARAMETER,
            self._seconds,
            "\n".join([*parts, stacks(late[0].thread)]),
        )


class _GilWatch:
    """Winds an alarm up again and again that goes off, without the GIL, when nobody does."""

    def __init__(self, caretaker: Caretaker) -> None:
        self._caretaker = caretaker
        self._limits: list[float] = []
        self._next: DelayedCall | None = None
        self._wound = 0.0
        self._lock = threading.Lock()

    def add(self, seconds: float) -> None:
        with self._lock:
            self._limits.append(seconds)
            self._wind()

    def remove(self, seconds: float) -> None:
        with self._lock:
            self._limits.remove(seconds)
            self._wind()

    def _wind(self) -> None:
        if self._next is not None:
            self._next.cancel()
        faulthandler.cancel_dump_traceback_later()
        self._next = None
        if self._limits:
            limit = min(self._limits)
            faulthandler.dump_traceback_later(limit, file=_STANDARD_ERROR)
            self._wound = time.monotonic()
            self._next = self._caretaker.call_later(limit / 2, self._wind_again)

    def _wind_again(self) -> None:
        with self._lock:
            passed, limits = time.monotonic() - self._wound, list(self._limits)
            self._wind()
        if limits and passed >= min(limits):
            logger.error(
                "C code kept the GIL: no Python ran for %.1f s; the stacks of that time are on the server's "
                "standard error",
                passed,
            )


def stacks(first: int | None = None) -> str:
    """Give the stacks of all threads but the caller's, one of them first."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    frames = sys._current_frames()
    frames.pop(threading.get_ident(), None)  # its frame would hold itself
    parts = []
    for ident in sorted(frames, key=lambda ident: ident != first):
        role = ", in this execute" if ident == first else ""
        parts.append(
            f"thread {names.get(ident, ident)}{role}:\n" + "".join(traceback.format_stack(frames[ident]))
        )
    return "\n".join(parts)


def coroutine_stack(coroutine: Any) -> str:
    """Give where a coroutine is, through what it awaits: no thread's stack shows one that waits."""
    name, frames = getattr(coroutine, "__qualname__", "?"), []
    while coroutine is not None:
        frame, coroutine = next(
            (
                (getattr(coroutine, frame), getattr(coroutine, awaited))
                for frame, awaited in _AWAITING
                if hasattr(coroutine, frame)
            ),
            (None, None),
        )
        frames += [(frame, frame.f_lineno)] if frame is not None else []
    summary = traceback.StackSummary.extract(iter(frames))
    return f"coroutine {name}:\n" + "".join(summary.format())
