"""One array per input over a whole dynamic batch, and the result split back."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, overload
from weakref import ref

from triton_backend_sdk.batch_plan import BatchPlan, respond, split, split_ragged
from triton_backend_sdk.errors import InternalError
from triton_backend_sdk.hook_shapes import Hook, async_execute_hook, execute_hook
from triton_backend_sdk.ragged import Ragged
from triton_backend_sdk.response import Response

if TYPE_CHECKING:
    from triton_backend_sdk.model import Model
    from triton_backend_sdk.request import Request

Function = Callable[..., Mapping[str, Any]]
#: Indices of requests, the function's arguments, and what makes responses of its result.
_Call = tuple[list[int], tuple[Any, ...], Callable[[Any], list[Response]]]


@overload
def batched(function: Function, /) -> Hook: ...


@overload
def batched(
    *, ragged: bool | Iterable[str] = False, defaults: Mapping[str, Any] | None = None
) -> Callable[[Function], Hook]: ...


def batched(
    function: Function | None = None,
    /,
    *,
    ragged: bool | Iterable[str] = False,
    defaults: Mapping[str, Any] | None = None,
) -> Any:
    """Turn a function over concatenated arrays into an ``execute`` hook.

    ::

        @hookimpl
        @batched
        def execute(inputs):                      # {"IN": array of all requests' rows}
            return {"OUT": model(inputs["IN"])}   # as many rows; split back as views

    It may be ``async``. It may also take ``instance`` before, ``requests`` after (whose rows these are), and
    ``self`` in a class. Inputs are read-only views of Triton's memory when the batch is one request, and one
    new array otherwise. Requests whose inputs differ in name or in anything but the first dimension are
    called for apart. Arrays that the config calls ``batch_input`` are among the inputs, and outputs that it
    calls ``batch_output`` are split as it says.

    :param ragged: inputs whose rows may differ in length come as one :class:`Ragged`: their names, or True
        for those with ``allow_ragged_batch``. A Ragged among the outputs is split by its rows.
    :param defaults: values for optional inputs, so that requests with and without them are executed at once:
        a scalar, or an array of one row's shape.
    :raises InternalError: an output has another number of rows than the inputs, or an option names no input.
    """
    if function is None:
        return functools.partial(_batched, ragged=ragged, defaults=defaults or {})
    return _batched(function, ragged=ragged, defaults=defaults or {})


def _batched(function: Function, *, ragged: bool | Iterable[str], defaults: Mapping[str, Any]) -> Hook:
    wanted = tuple(inspect.signature(function).parameters)
    gives_requests = "requests" in wanted
    if not isinstance(ragged, bool):
        ragged = (ragged,) if isinstance(ragged, str) else tuple(ragged)
    # The last model and its plan: a function seldom serves two; a WeakKeyDictionary costs thrice as much.
    latest: tuple[Callable[[], Model | None], BatchPlan | None] = (lambda: None, None)

    def plan_of(requests: list[Request]) -> BatchPlan | None:
        nonlocal latest
        instance = requests[0].instance
        if instance is None:
            return None
        model, plan = latest
        if model() is not instance.model:
            plan = BatchPlan(instance.model, ragged, defaults)
            latest = ref(instance.model), plan
        return plan

    def run(requests: list[Request], *before: Any) -> list[Response]:
        plan = plan_of(requests)
        if len(requests) == 1 and (plan is None or plan.plain):  # the most frequent batch of all
            inputs = _concatenate(requests)
            outputs = function(*before, inputs, requests) if gives_requests else function(*before, inputs)
            return _split(outputs, requests, plan)
        responses: list[Response] = [Response()] * len(requests)
        for members, arguments, share in _calls(requests, plan, gives_requests):
            outputs = function(*before, *arguments)
            for i, response in zip(members, share(outputs), strict=True):
                responses[i] = response
        return responses

    async def run_async(requests: list[Request], *before: Any) -> list[Response]:
        plan = plan_of(requests)
        responses: list[Response] = [Response()] * len(requests)
        for members, arguments, share in _calls(requests, plan, gives_requests):
            outputs = await function(*before, *arguments)  # type: ignore[misc]
            for i, response in zip(members, share(outputs), strict=True):
                responses[i] = response
        return responses

    if inspect.iscoroutinefunction(function):
        return async_execute_hook(function, wanted, run_async)
    return execute_hook(function, wanted, run)


def _calls(requests: list[Request], plan: BatchPlan | None, gives_requests: bool) -> Iterator[_Call]:
    """Give what is to be called for a batch: which requests, with what, and how the result is split."""
    if plan is not None and not plan.plain:
        yield from _planned_calls(requests, plan, gives_requests)
        return
    for members in _groups(requests):
        chosen = [requests[i] for i in members]
        inputs = _concatenate(chosen)
        arguments = (inputs, chosen) if gives_requests else (inputs,)
        yield members, arguments, functools.partial(_split, requests=chosen, plan=plan)


def _planned_calls(requests: list[Request], plan: BatchPlan, gives_requests: bool) -> Iterator[_Call]:
    arrays = [plan.arrays(request) for request in requests]
    groups: dict[Any, list[int]] = {}
    for i, found in enumerate(arrays):
        groups.setdefault(plan.key(found), []).append(i)
    for members in groups.values():
        chosen, batch = [requests[i] for i in members], [arrays[i] for i in members]
        inputs = plan.gather(batch)
        arguments = (inputs, chosen) if gives_requests else (inputs,)
        yield members, arguments, functools.partial(plan.scatter, requests=chosen, batch=batch)


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


def _split(outputs: Mapping[str, Any], requests: list[Request], plan: BatchPlan | None) -> list[Response]:
    if isinstance(outputs, dict):
        for value in outputs.values():
            if type(value) is Ragged:
                return _split_ragged(outputs, requests, plan is None or plan.batching)
    elif not isinstance(outputs, Mapping):
        raise InternalError(f"a @batched execute returns a dict of outputs, not {type(outputs).__name__}")
    if len(requests) == 1:
        return [Response(outputs)]
    sizes = [request.batch_size for request in requests]
    total = sum(sizes)
    for name, array in outputs.items():
        if len(array) != total:
            raise InternalError(f"output '{name}' has {len(array)} rows for {total} rows of input")
    responses, start = [], 0
    for size in sizes:
        responses.append(Response({name: array[start : start + size] for name, array in outputs.items()}))
        start += size
    return responses


def _split_ragged(outputs: Mapping[str, Any], requests: list[Request], batching: bool) -> list[Response]:
    sizes = [request.batch_size for request in requests]
    parts = {
        name: split_ragged(name, value, sizes, batching)
        if type(value) is Ragged
        else split(name, value, sizes)
        for name, value in outputs.items()
    }
    return [respond({name: found[i] for name, found in parts.items()}) for i in range(len(requests))]
