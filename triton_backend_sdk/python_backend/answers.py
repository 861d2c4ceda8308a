"""What becomes of one request after execute, by the stock backend's rules and in its words."""

from __future__ import annotations

from typing import Any

from triton_backend_sdk import InternalError, Response
from triton_backend_sdk.python_backend.infer_request import RELEASE_RESCHEDULE, InferenceRequest
from triton_backend_sdk.python_backend.infer_response import InferenceResponse, as_sdk
from triton_backend_sdk.python_backend.pb_error import TritonModelException
from triton_backend_sdk.python_backend.response_sender import FINAL


class Misuse(TritonModelException):
    """The model broke a rule of its own: told without a type, and without frames."""


def untouched(received: list[InferenceRequest]) -> bool:
    """Tell whether nothing was sent for a batch, and nothing rescheduled."""
    return all(
        request._release_flags != RELEASE_RESCHEDULE
        and (request._sender is None or request._sender.is_untouched())
        for request in received
    )


def answered(request: InferenceRequest, item: Any) -> Any:
    """Give what the SDK sends for an item of the list that execute returns.

    :raises Misuse: it is not what it must be.
    """
    if item is None:
        return _no_response(request)
    if request._release_flags == RELEASE_RESCHEDULE:
        raise Misuse(
            "Expected a None object in the execute function return list for reschduled request, found type "
            f"'{type(item)}'."
        )
    if not isinstance(item, InferenceResponse):
        raise Misuse(
            "Expected an 'InferenceResponse' object in the execute function return list, found type "
            f"'{type(item)}'."
        )
    if request._sender is not None:
        try:
            request._sender.count(True, FINAL)
        except TritonModelException as error:
            raise Misuse(str(error)) from None
        request._sender.close()
    return as_sdk(item)


def streamed(request: InferenceRequest) -> Any:
    """Give what the SDK is told of a request of a decoupled model."""
    if request._release_flags == RELEASE_RESCHEDULE:
        return _rescheduled(request)
    request.get_response_sender()  # that of a request which the model keeps for later, too
    return None


def _rescheduled(request: InferenceRequest) -> Any:
    if request._sender is None or not request._sender.is_attached():
        return Response(reschedule=True)
    request._sender.reschedule()
    return None


def _no_response(request: InferenceRequest) -> Any:
    if request._release_flags == RELEASE_RESCHEDULE:
        return _rescheduled(request)
    if request._sender is not None:
        request._sender.attach()
        return None
    return InternalError(
        "execute returned None for the request, which it neither rescheduled nor answers with its response "
        "sender: return an InferenceResponse"
    )
