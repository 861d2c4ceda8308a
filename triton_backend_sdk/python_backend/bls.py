"""Calls to other models: ``exec`` and ``async_exec`` of a request that a model makes.

A call fails with an error response, as in the stock backend, never with an exception. What Triton refuses has
the stock backend's phrase in front and the code INTERNAL; what the called model answers is told as it is.
"""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from triton_backend_sdk import TritonError as SDKError
from triton_backend_sdk.python_backend import made_request, pb_error
from triton_backend_sdk.python_backend.infer_response import InferenceResponse, failed, received
from triton_backend_sdk.python_backend.response_iterator import ResponseIterator, iterate
from triton_backend_sdk.python_backend.tensor import value

if TYPE_CHECKING:
    from triton_backend_sdk import Request
    from triton_backend_sdk.python_backend.infer_request import InferenceRequest
    from triton_backend_sdk.python_backend.made_request import MadeRequest
    from triton_backend_sdk.python_backend.owner import PythonModel

    #: Name and version of a model.
    Target = tuple[str, int]


def call(
    owner: PythonModel, request: InferenceRequest, decoupled: bool = False
) -> InferenceResponse | ResponseIterator:
    """Call a model and wait for its response; ``decoupled`` gives any number of them.

    :raises TypeError: ``decoupled`` is no bool.
    """
    if decoupled is not True and decoupled is not False:
        decoupled = made_request.check_truth("exec", "decoupled", decoupled)
    made = request._made if request._request is None else _received(owner, request._request)
    if decoupled:
        return _iterate(owner, request, made)
    target = made.target
    try:
        if target not in owner.plain:
            _refuse_decoupled(owner, target)
        answer = owner.server.infer(target[0], _inputs(request), **_options(request, made))
    except Exception as error:
        return _failed(owner, target, error)
    return received(answer)


def call_async(
    owner: PythonModel, request: InferenceRequest, decoupled: bool = False
) -> asyncio.Future[InferenceResponse | ResponseIterator]:
    """Begin a call at once; the future gives what :func:`call` does.

    :raises RuntimeError: no event loop runs in this thread.
    """
    loop = asyncio.get_running_loop()
    if decoupled is not True and decoupled is not False:
        decoupled = made_request.check_truth("exec", "decoupled", decoupled)
    made = request._made if request._request is None else _received(owner, request._request)
    if decoupled:
        return loop.create_task(_first(_iterate(owner, request, made)))
    target = made.target
    try:
        if target not in owner.plain:
            _refuse_decoupled(owner, target)
        begun = owner.server.start(target[0], _inputs(request), **_options(request, made))
    except Exception as error:
        refused: asyncio.Future[Any] = loop.create_future()
        refused.set_result(_failed(owner, target, error))
        return refused
    begun.detach()  # as in the stock backend, where a thread makes the call to its end
    return loop.create_task(_arrival(owner, target, begun))


async def _arrival(owner: PythonModel, target: Target, begun: Any) -> Any:
    try:
        return received(await begun)
    except Exception as error:
        return _failed(owner, target, error)


async def _first(iterator: ResponseIterator) -> ResponseIterator:
    """Give the iterator when its first response is there, so that taking it stops no loop."""
    await iterator._fetch()
    return iterator


def _received(owner: PythonModel, request: Request) -> MadeRequest:
    return made_request.of_received(request, owner.model.name)


def _options(request: InferenceRequest, made: MadeRequest) -> dict[str, Any]:
    flags = request.flags() if request._flags is None else request._flags
    return {**made.options, "flags": flags} if flags else made.options


def _inputs(request: InferenceRequest) -> dict[str, Any]:
    tensors = request._inputs
    if tensors is None:
        tensors = request.inputs()
    inputs = {tensor._name: value(tensor) for tensor in tensors}
    if len(inputs) != len(tensors):
        names = [tensor._name for tensor in tensors]
        twice = next(name for name in names if names.count(name) > 1)
        request_id = request.request_id() or "<id_unknown>"
        raise _RefusedError(f"[request id: {request_id}] input '{twice}' already exists in request")
    return inputs


def _iterate(owner: PythonModel, request: InferenceRequest, made: MadeRequest) -> ResponseIterator:
    """Begin a call that gives any number of responses: one that says so where it is refused."""
    begun: Any
    try:
        inputs = {name: _lasting(given) for name, given in _inputs(request).items()}
        begun = owner.server.stream(made.target[0], inputs, **_options(request, made))
    except Exception as error:
        begun = _failed(owner, made.target, error)
    return iterate(begun, functools.partial(_failed, owner, made.target))


def _lasting(given: Any) -> Any:
    """Copy what the model may write to while the called one still reads it, after its first response."""
    if isinstance(given, np.ndarray) and given.flags.writeable and given.dtype != object:
        return given.copy()
    return given


class _RefusedError(Exception):
    """A call that is not begun, and why."""


def _refuse_decoupled(owner: PythonModel, target: Target) -> None:
    if owner.server.is_decoupled(*target):
        raise _RefusedError(_decoupled(target[0]))
    owner.plain.add(target)


def _decoupled(model: str) -> str:
    return (
        f"Model {model} is using the decoupled. The current BLS request call doesn't support models using "
        "the decoupled transaction policy. Please use 'decoupled=True' argument to the 'exec' or "
        "'async_exec' calls for decoupled models.'"
    )


def _failed(owner: PythonModel, target: Target, error: Exception) -> InferenceResponse:
    """Give the response that says why a call failed."""
    if isinstance(error, SDKError):
        if error.model:
            return failed(error.message, error.code)
        message = _not_usable(owner, target) or error.message
    else:
        message = str(error)
    return failed(
        f"Model {target[0]} - Error when running inference: {message}", pb_error.TritonError.INTERNAL
    )


def _not_usable(owner: PythonModel, target: Target) -> str:
    """Give the stock backend's phrase for a model that is not there, or what hinders a look; else ""."""
    try:
        if not owner.server.is_ready(*target):
            return f"Failed for execute the inference request. Model '{target[0]}' is not ready."
        if target in owner.plain and owner.server.is_decoupled(*target):  # since it was loaded again
            owner.plain.discard(target)
            return _decoupled(target[0])
    except SDKError as error:
        return error.message
    return ""
