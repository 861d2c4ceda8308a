"""Ask an instance's is_ready hook at an interval, so that a health check finds an answer without waiting.

Triton asks on the thread that serves the health endpoint. What it reads is in C (``_ffi/src/ready.c``): the
last answer, which holds for one interval and one limit. A hook that hangs, or code that holds Python's lock,
lets it expire, and the instance counts as not ready until the next answer.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from typing import Any

from triton_backend_sdk.errors import InvalidArgError, describe
from triton_backend_sdk.model_instance import ModelInstance

#: Takes why the instance is not ready, or None where it is, and for how many seconds that holds.
Tell = Callable[[str | None, float], None]

#: Seconds that an answer holds after which nobody asks.
_FOR_GOOD = 1e9


class Readiness:
    """Asks ``hook`` on a thread of its own and tells the answers.

    The model parameters ``ready_interval_seconds`` (1) and ``ready_limit_seconds`` (5) say how often, and how
    long an answer may take.

    :raises InvalidArgError: a parameter is no positive number.
    """

    def __init__(self, hook: Callable[..., list[Any]], instance: ModelInstance, tell: Tell) -> None:
        self._hook = hook
        self._instance = instance
        self._tell: Tell | None = tell
        self._interval = _positive(instance, "ready_interval_seconds", 1.0)
        self._limit = _positive(instance, "ready_limit_seconds", 5.0)
        self._said: str | None = None
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._answered = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"{instance.name}-ready", daemon=True)

    def start(self) -> None:
        """Ask for the first time: the answer is there when the model becomes READY, or the limit is over."""
        self._say("is_ready has not answered yet", self._limit)
        self._thread.start()
        self._answered.wait(self._limit)

    def stop(self) -> None:
        """Ask no more; a hook that hangs is left behind."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(self._limit)
        with self._lock:
            self._tell = None  # what it tells is freed now
        if self._thread.is_alive():
            self._instance.logger.warning(
                "%s: is_ready hangs: its thread is left behind", self._instance.name
            )

    def _run(self) -> None:
        again = True
        while again and not self._stopped.is_set():
            message, again = _ask(self._hook, self._instance)
            self._log(message)
            self._say(message, self._interval + self._limit if again else _FOR_GOOD)
            self._answered.set()
            self._stopped.wait(self._interval if again else 0)

    def _say(self, message: str | None, seconds: float) -> None:
        with self._lock:
            if self._tell is not None:
                self._tell(message, seconds)

    def _log(self, message: str | None) -> None:
        if message == self._said:
            return
        self._said = message
        if message is None:
            self._instance.logger.info("%s: ready again", self._instance.name)
        else:
            self._instance.logger.warning("%s: not ready: %s", self._instance.name, message)


def why_not_ready(hook: Callable[..., list[Any]], instance: ModelInstance) -> str | None:
    """Ask once; None means ready."""
    return _ask(hook, instance)[0]


def _ask(hook: Callable[..., list[Any]], instance: ModelInstance) -> tuple[str | None, bool]:
    """Ask once: why it is not ready, or None, and whether there is any use in asking again."""
    try:
        answers = [_waited(answer) for answer in hook(instance=instance)]
    except BaseException as error:  # nothing may end the thread that asks
        return f"is_ready raised: {describe(error)[1]}", True
    given = [answer for answer in answers if answer is not NotImplemented]
    ready = all(answer is None or answer for answer in given)
    return None if ready else "is_ready returned False", bool(given)


def _waited(answer: Any) -> Any:
    """Give a coroutine's result, for ``async def is_ready``."""
    return asyncio.run(_one(answer)) if inspect.isawaitable(answer) else answer


async def _one(answer: Any) -> Any:
    return await answer


def _positive(instance: ModelInstance, parameter: str, default: float) -> float:
    seconds = instance.model.parameters.get_float(parameter, default)
    if not 0 < seconds < 1e9:
        raise InvalidArgError(
            f"parameter '{parameter}' of model '{instance.model.name}' is {seconds:g}; it must be positive"
        )
    return seconds
