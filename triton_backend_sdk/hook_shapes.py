"""Functions with the signatures that a hook can have: pluggy reads them, so each is spelled out."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from triton_backend_sdk.request import Request
    from triton_backend_sdk.response import Response

Hook = Callable[..., Any]


def execute_hook(function: Callable[..., Any], wanted: tuple[str, ...], run: Hook) -> Hook:
    """Give an ``execute`` that calls ``run(requests, ...)``, with self and instance where wanted."""
    if wanted[:2] == ("self", "instance"):

        def method_with_instance(self: Any, instance: Any, requests: list[Request]) -> list[Response]:
            return run(requests, self, instance)  # type: ignore[no-any-return]

        return _named(method_with_instance, function)
    if wanted[:1] == ("self",):

        def method(self: Any, requests: list[Request]) -> list[Response]:
            return run(requests, self)  # type: ignore[no-any-return]

        return _named(method, function)
    if wanted[:1] == ("instance",):

        def with_instance(instance: Any, requests: list[Request]) -> list[Response]:
            return run(requests, instance)  # type: ignore[no-any-return]

        return _named(with_instance, function)

    def plain(requests: list[Request]) -> list[Response]:
        return run(requests)  # type: ignore[no-any-return]

    return _named(plain, function)


def async_execute_hook(function: Callable[..., Any], wanted: tuple[str, ...], run: Hook) -> Hook:
    """Give the same as a coroutine function, for a ``run`` that is one."""
    if wanted[:2] == ("self", "instance"):

        async def method_with_instance(self: Any, instance: Any, requests: list[Request]) -> list[Response]:
            return await run(requests, self, instance)  # type: ignore[no-any-return]

        return _named(method_with_instance, function)
    if wanted[:1] == ("self",):

        async def method(self: Any, requests: list[Request]) -> list[Response]:
            return await run(requests, self)  # type: ignore[no-any-return]

        return _named(method, function)
    if wanted[:1] == ("instance",):

        async def with_instance(instance: Any, requests: list[Request]) -> list[Response]:
            return await run(requests, instance)  # type: ignore[no-any-return]

        return _named(with_instance, function)

    async def plain(requests: list[Request]) -> list[Response]:
        return await run(requests)  # type: ignore[no-any-return]

    return _named(plain, function)


def _named(hook: Hook, function: Callable[..., Any]) -> Hook:
    functools.update_wrapper(hook, function)
    del hook.__wrapped__  # type: ignore[attr-defined]  # else inspect sees the inner signature
    return hook
