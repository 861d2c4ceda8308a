"""What a model's own ``is_ready`` says."""

from __future__ import annotations

import inspect
from collections.abc import Coroutine
from typing import Any

from triton_backend_sdk import InternalError


def is_ready(model: Any) -> Any:
    """Ask a model: a bool, or an awaitable of one where ``is_ready`` is a coroutine.

    A model without the method is ready. What it raises is raised.

    :raises InternalError: it gives something else than a bool.
    """
    ask = getattr(model, "is_ready", None)
    if ask is None:
        return True
    answer = ask()
    return _awaited(answer) if inspect.iscoroutine(answer) else _checked(answer)


async def _awaited(answer: Coroutine[Any, Any, Any]) -> bool:
    return _checked(await answer)


def _checked(answer: Any) -> bool:
    if not isinstance(answer, bool):
        raise InternalError("is_ready() must return a boolean value")
    return answer
