"""One array per input over a whole dynamic batch, and the result split back."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from triton_backend_sdk.errors import InternalError
from triton_backend_sdk.response import Response

if TYPE_CHECKING:
    from triton_backend_sdk.request import Request


def batched(function: Callable[..., Mapping[str, Any]]) -> Callable[..., list[Response]]:
    """Turn a function over concatenated arrays into an ``execute`` hook.

    ::

        @hookimpl
        @batched
        def execute(inputs):                      # {"IN": array of all requests' rows}
            return {"OUT": model(inputs["IN"])}   # as many rows; split back as views

    It may also take ``instance``, and ``self`` in a class. Inputs are read-only views of Triton's memory when
    the batch is one request, and one new array otherwise. Requests whose inputs differ in name or in anything
    but the first dimension are called for apart.

    :raises InternalError: an output has another number of rows than the inputs.
    """
    wanted = tuple(inspect.signature(function).parameters)

    def run(requests: list[Request], *before: Any) -> list[Response]:
        responses: list[Response] = [Response()] * len(requests)
        for members in _groups(requests):
            chosen = [requests[i] for i in members]
            outputs = function(*before, _concatenate(chosen))
            for i, response in zip(members, _split(outputs, chosen), strict=True):
                responses[i] = response
        return responses

    # pluggy reads the signature, so each shape of it is spelled out
    if wanted[:2] == ("self", "instance"):

        @functools.wraps(function)
        def method_with_instance(self: Any, instance: Any, requests: list[Request]) -> list[Response]:
            return run(requests, self, instance)

        wrapper: Callable[..., list[Response]] = method_with_instance
    elif wanted[:1] == ("self",):

        @functools.wraps(function)
        def method(self: Any, requests: list[Request]) -> list[Response]:
            return run(requests, self)

        wrapper = method
    elif wanted[:1] == ("instance",):

        @functools.wraps(function)
        def with_instance(instance: Any, requests: list[Request]) -> list[Response]:
            return run(requests, instance)

        wrapper = with_instance
    else:

        @functools.wraps(function)
        def plain(requests: list[Request]) -> list[Response]:
            return run(requests)

        wrapper = plain
    del wrapper.__wrapped__  # type: ignore[attr-defined]  # else inspect sees the inner signature
    return wrapper


def _groups(requests: list[Request]) -> list[list[int]]:
    if len(requests) == 1:
        return [[0]]
    groups: dict[Any, list[int]] = {}
    for i, request in enumerate(requests):
        groups.setdefault(tuple((name, request[name].shape[1:]) for name in request), []).append(i)
    return list(groups.values())


def _concatenate(requests: list[Request]) -> dict[str, Any]:
    if len(requests) == 1:
        return {name: requests[0][name].numpy() for name in requests[0]}
    import numpy as np  # noqa: PLC0415  not at import: the runtime itself does without NumPy

    return {name: np.concatenate([request[name].numpy() for request in requests]) for name in requests[0]}


def _split(outputs: Mapping[str, Any], requests: list[Request]) -> list[Response]:
    if len(requests) == 1:
        return [Response(outputs)]
    sizes = [request.batch_size for request in requests]
    for name, array in outputs.items():
        if len(array) != sum(sizes):
            raise InternalError(f"output '{name}' has {len(array)} rows for {sum(sizes)} rows of input")
    responses, start = [], 0
    for size in sizes:
        responses.append(Response({name: array[start : start + size] for name, array in outputs.items()}))
        start += size
    return responses
