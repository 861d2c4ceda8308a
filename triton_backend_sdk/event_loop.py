"""The asyncio loop of a model whose hooks are ``async``: one per model, on a thread of its own.

A request that its coroutine serves is kept past ``execute``; its ResponseSender answers it. While there are
some, the loop looks now and then for clients that no longer wait, and whether the model is being unloaded:
Triton tells a backend neither.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from triton_backend_sdk import failure
from triton_backend_sdk.errors import CancelledError, InternalError, TritonError, UnavailableError

if TYPE_CHECKING:
    from triton_backend_sdk.request import Request
    from triton_backend_sdk.sender import ResponseSender

T = TypeVar("T")
#: Seconds between looks for cancelled requests; each costs some nanoseconds per request.
_LOOK_S = 0.01
#: Seconds between looks whether the model is still served.
_SERVED_LOOK_S = 0.5
#: Seconds that a cancelled coroutine has until its requests are taken from it.
_GRACE_S = 1.0


@dataclass(eq=False)
class Job:
    """Requests that one coroutine serves."""

    requests: Sequence[Request]
    senders: Sequence[ResponseSender]
    #: Makes the coroutine; it answers every request and raises nothing but CancelledError.
    serve: Callable[[], Coroutine[Any, Any, None]]
    done: Callable[[], None]
    #: Why it was cancelled, as the client shall see it.
    reason: CancelledError | UnavailableError | None = None


class EventLoop:
    """The loop, its thread and its tasks.

    :param is_served: whether Triton still serves the model; asked from the loop's thread.
    :param drain_s: seconds that coroutines have to end once it is not.
    """

    def __init__(
        self, model: str, logger: logging.Logger, is_served: Callable[[], bool], drain_s: float
    ) -> None:
        self._model = model
        self._logger = logger
        self._is_served = is_served
        self._drain_s = drain_s
        self._jobs: dict[asyncio.Task[None], Job] = {}
        self._loop = asyncio.new_event_loop()
        self._looking = False
        self._ended = False
        self._next_served_look = 0.0
        #: When the coroutines' time is over; infinite while the model is served.
        self._drain_end = float("inf")
        self._thread = threading.Thread(target=self._run, name=f"{model} asyncio", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        while not self._ended:
            try:
                self._loop.run_forever()
            except BaseException as error:  # asyncio lets SystemExit of any task through
                self._log("something ended the event loop, which goes on", error)
        self._loop.close()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop, from another thread, and wait for its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def start(self, job: Job) -> None:
        """Start serving requests; from any thread."""
        self._loop.call_soon_threadsafe(self._start, job)

    def _start(self, job: Job) -> None:
        task = self._loop.create_task(self._serve(job))
        self._jobs[task] = job
        task.add_done_callback(self._done)
        if not self._looking:
            self._looking = True
            self._loop.call_later(_LOOK_S, self._look)

    async def _serve(self, job: Job) -> None:
        try:
            await job.serve()
        except asyncio.CancelledError:
            self._answer(job, job.reason or CancelledError("execute was cancelled"))

    @staticmethod
    def _answer(job: Job, error: TritonError) -> None:
        for sender in job.senders:
            sender._fail(error.code, error.message)

    def _done(self, task: asyncio.Task[None]) -> None:
        job = self._jobs.pop(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._log("serving a request failed", error)
            self._answer(job, InternalError(f"execute was ended by {type(error).__name__}"))
        elif task.cancelled():  # before its first step
            self._answer(job, job.reason or CancelledError("execute was cancelled"))
        job.done()

    def _log(self, what: str, error: BaseException) -> None:
        message = failure.code_and_message(error)[1]
        self._logger.error("%s: %s: %s\n%s", self._model, what, message, failure.traceback_text(error))

    def _look(self) -> None:
        for task, job in list(self._jobs.items()):
            # What is answered, or was never cancelled, says False.
            if job.reason is None and all(sender.is_cancelled() for sender in job.senders):
                job.reason = CancelledError("the client cancelled the request")
                task.cancel()
        now = time.monotonic()
        if self._jobs and now >= self._next_served_look:
            self._next_served_look = now + _SERVED_LOOK_S
            self._drain(now)
        self._looking = bool(self._jobs)
        if self._looking:
            self._loop.call_later(_LOOK_S, self._look)

    def _drain(self, now: float) -> None:
        """Once the model is no longer served, let its coroutines end, then end them."""
        if self._is_served():
            self._drain_end = float("inf")
        elif self._drain_end == float("inf"):
            self._drain_end = now + self._drain_s
        if now >= self._drain_end + _GRACE_S:
            for task, job in list(self._jobs.items()):
                self._take_back(task, job)
        elif now >= self._drain_end:
            reason = UnavailableError(
                f"model '{self._model}' is being unloaded, and its execute did not end within "
                f"{self._drain_s:g} s (drain_seconds)"
            )
            for task, job in list(self._jobs.items()):
                job.reason = reason
                task.cancel()

    def _take_back(self, task: asyncio.Task[None], job: Job) -> None:
        """Answer and release what a coroutine keeps that does not listen to its cancellation."""
        if all(sender.closed for sender in job.senders):
            return
        self._logger.error(
            "%s: %r goes on after its cancellation; its requests are taken from it",
            self._model,
            task.get_coro(),
        )
        assert job.reason is not None
        self._answer(job, job.reason)
        for request in job.requests:
            request.release()

    def stop(self) -> None:
        """End the loop and its thread; what still runs is cancelled, for a bounded time."""
        self._loop.call_soon_threadsafe(self._cancel_all)
        deadline = time.monotonic() + _GRACE_S
        while self._jobs and time.monotonic() < deadline:
            time.sleep(0.01)
        self._ended = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_GRACE_S)
        if self._thread.is_alive():
            self._logger.error("%s: the event loop is blocked and does not end; leaving it", self._model)

    def _cancel_all(self) -> None:
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
