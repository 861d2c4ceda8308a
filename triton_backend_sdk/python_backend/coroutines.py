"""The event loop of a model whose execute is ``async``: one per instance, on a thread of its own."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any

from triton_backend_sdk.python_backend.owner import PythonModel, here

#: Seconds between two looks whether the model is being unloaded, while coroutines run in the background.
_LOOK_S = 0.5
#: Seconds that a cancelled coroutine has until the loop goes on without it.
_GRACE_S = 1.0


class Coroutines:
    """Runs coroutines of one instance; made when there is the first.

    The model parameter ``drain_seconds`` (30) says how long those in the background may go on once the model
    is being unloaded, which waits for the requests that they answer.
    """

    def __init__(self, owner: PythonModel) -> None:
        self._owner = owner
        self._drain_s = owner.model.parameters.get_float("drain_seconds", 30.0)
        self._ended = False
        self._loop = asyncio.new_event_loop()
        #: What is told the exception of each, or None.
        self._background: dict[Future[Any], Callable[[BaseException | None], None]] = {}
        self._watching = False
        self._thread = threading.Thread(target=self._run, name=f"{owner.name} asyncio", daemon=True)
        self._thread.start()

    def result(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine and wait for what it gives."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def start(
        self, coroutine: Coroutine[Any, Any, Any], done: Callable[[BaseException | None], None]
    ) -> None:
        """Run a coroutine in the background; ``done`` is called with its exception, or None."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        self._background[future] = done
        future.add_done_callback(self._done)
        if not self._watching:
            self._watching = True
            self._loop.call_soon_threadsafe(self._loop.call_later, _LOOK_S, self._look, float("inf"))

    def stop(self) -> None:
        """End what still runs, and the loop; it takes a bounded time."""
        self._call(self._cancel)
        end = time.monotonic() + _GRACE_S
        while self._background and time.monotonic() < end:
            time.sleep(0.01)
        self._abandon()
        self._ended = True
        self._call(self._loop.stop)
        self._thread.join(_GRACE_S)
        if self._thread.is_alive():
            self._owner.model.logger.error(
                "%s: the event loop is blocked and does not end; leaving it", self._owner.name
            )

    def _call(self, function: Callable[[], object]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function)

    def _run(self) -> None:
        here.owner = self._owner
        asyncio.set_event_loop(self._loop)
        while not self._ended:
            try:
                self._loop.run_forever()
            except BaseException as error:  # asyncio lets SystemExit of any task through
                self._owner.model.logger.error(
                    "%s: %s ended the event loop, which goes on", self._owner.name, type(error).__name__
                )
        self._loop.close()

    def _done(self, future: Future[Any]) -> None:
        done = self._background.pop(future, None)
        if done is not None:
            done(asyncio.CancelledError() if future.cancelled() else future.exception())

    def _abandon(self) -> None:
        """Take their requests from coroutines that do not listen to their cancellation."""
        for future in list(self._background):
            if (done := self._background.pop(future, None)) is not None:  # it may end just now
                done(asyncio.CancelledError())

    def _cancel(self) -> None:
        for task in asyncio.all_tasks(self._loop):
            task.cancel()

    def _look(self, end: float) -> None:
        """Once the model is no longer served, let its coroutines end, then end them."""
        now = time.monotonic()
        if self._owner.model.is_served():
            end = float("inf")
        elif end == float("inf"):
            end = now + self._drain_s
        if now >= end:
            self._cancel()
        if now >= end + _GRACE_S:
            self._abandon()
        self._watching = False  # before the look, as another thread may start one meanwhile
        if self._background:
            self._watching = True
            self._loop.call_later(_LOOK_S, self._look, end)
