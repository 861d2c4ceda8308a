"""A watchdog over execute: when one hangs, the log says where; off unless the model's config asks for it."""

from __future__ import annotations

import faulthandler
import logging
import sys
import threading
import time
import traceback
from collections.abc import Generator
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


@dataclass(frozen=True)
class _Run:
    start: float
    thread: int
    #: Not the requests, which this would keep.
    ids: list[str]
    count: int


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
        self._run: _Run | None = None
        self._told: _Run | None = None
        self._look: DelayedCall | None = None
        self._done = False

    @hookimpl(wrapper=True)
    def execute(self, requests: list[Request]) -> Generator[None, Any, Any]:
        """Note what runs since when: that is all it costs."""
        if self._look is None:
            self._start()
        ids = [request.id for request in requests]
        self._run = _Run(time.monotonic(), threading.get_ident(), [one for one in ids if one], len(ids))
        try:
            return (yield)
        finally:
            self._run = None

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

    def _start(self) -> None:
        if self._gil_watch is not None:
            self._gil_watch.add(self._seconds)
        self._look = self._caretaker.call_later(self._seconds, self._look_now)

    def _look_now(self) -> None:
        if self._done:
            return
        run, now = self._run, time.monotonic()
        wait = self._seconds
        if run is not None and run is not self._told:
            wait = run.start + self._seconds - now
            if wait <= 0:
                self._told = run
                self._tell(run, now - run.start)
                wait = self._seconds
        self._look = self._caretaker.call_later(wait, self._look_now)

    def _tell(self, run: _Run, took: float) -> None:
        self._instance.logger.error(
            "%s: execute of %d request(s)%s has been running for %.1f s (%s is %g); all threads:\n%s",
            self._instance.name,
            run.count,
            f" {run.ids}" if run.ids else "",
            took,
            PARAMETER,
            self._seconds,
            stacks(run.thread),
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
