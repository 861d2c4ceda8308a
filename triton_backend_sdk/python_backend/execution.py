"""What a model's execute gives, made into what the SDK sends; errors in the stock backend's words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from triton_backend_sdk import InternalError, Request, Response
from triton_backend_sdk.python_backend.infer_request import (
    RELEASE_RESCHEDULE,
    InferenceRequest,
    receive,
)
from triton_backend_sdk.python_backend.infer_response import InferenceResponse, as_sdk
from triton_backend_sdk.python_backend.owner import PythonModel, enter
from triton_backend_sdk.python_backend.pb_error import TritonModelException, told


class Execution:
    """Calls one instance's execute."""

    __slots__ = ("_decoupled", "_execute", "_owner")

    def __init__(self, owner: PythonModel, execute: Callable[[list[InferenceRequest]], Any]) -> None:
        self._owner = owner
        self._execute = execute
        self._decoupled = owner.model.decoupled

    def __call__(self, requests: list[Request]) -> list[Any]:
        """Answer a batch.

        :raises InternalError: it failed as a whole.
        """
        cls = self._owner.request_class
        received = [receive(cls, request) for request in requests]
        before = enter(self._owner)
        try:
            result = self._execute(received)
            if self._decoupled:
                return self._streamed(received, result)
            return self._answered(received, result)
        except BaseException as error:
            raise InternalError(self._failed(received, error)) from None
        finally:
            enter(before)

    def _failed(self, received: list[InferenceRequest], error: BaseException) -> str:
        for request in received:
            if request._sender is not None:
                request._sender.close()
        text = str(error) if isinstance(error, _Misuse) else told(error)
        return f"Failed to process the request(s) for model '{self._owner.name}', message: {text}"

    def _streamed(self, received: list[InferenceRequest], result: Any) -> list[Any]:
        if result is not None:
            raise _Misuse(
                f"Python model '{self._owner.name}' is using the decoupled mode and the execute function "
                "must return None."
            )
        for request in received:
            request.get_response_sender()  # that of a request which the model keeps for later, too
        return [None] * len(received)

    def _answered(self, received: list[InferenceRequest], result: Any) -> list[Any]:
        if result is None:
            result = [None] * len(received)
        if not isinstance(result, list):
            raise _Misuse(f"Expected a list in the execute return, found type '{type(result)}'.")
        if len(result) != len(received):
            raise _Misuse(
                "Number of InferenceResponse objects do not match the number of InferenceRequest objects. "
                f"InferenceRequest(s) size is:{len(received)}, and InferenceResponse(s) size "
                f"is:{len(result)}\n"
            )
        return [_answer(request, item) for request, item in zip(received, result, strict=True)]


class _Misuse(TritonModelException):
    """The model broke a rule of its own: told without a type, and without frames."""


def _answer(request: InferenceRequest, item: Any) -> Any:
    if item is None:
        return _no_response(request)
    if request._release_flags == RELEASE_RESCHEDULE:
        raise _Misuse(
            "Expected a None object in the execute function return list for reschduled request, found type "
            f"'{type(item)}'."
        )
    if not isinstance(item, InferenceResponse):
        raise _Misuse(
            "Expected an 'InferenceResponse' object in the execute function return list, found type "
            f"'{type(item)}'."
        )
    if request._sender is not None:
        try:
            request._sender.count(True, 1)
        except TritonModelException as error:
            raise _Misuse(str(error)) from None
        request._sender.close()
    return as_sdk(item)


def _no_response(request: InferenceRequest) -> Any:
    if request._release_flags == RELEASE_RESCHEDULE:
        return Response(reschedule=True)
    if request._sender is not None:
        request._sender.attach()
        return None
    return InternalError(
        "execute returned None for the request, which it neither rescheduled nor answers with its response "
        "sender: return an InferenceResponse"
    )
