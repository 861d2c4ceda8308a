"""``InferenceResponseSender`` of ``triton_python_backend_utils``: answers one request, from any thread."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from triton_backend_sdk import InternalError, Request, Response, ResponseSender, TritonError
from triton_backend_sdk.python_backend.infer_response import InferenceResponse, as_sdk
from triton_backend_sdk.python_backend.pb_error import TritonModelException

if TYPE_CHECKING:
    from triton_backend_sdk.python_backend.owner import PythonModel

FINAL = 1  # TRITONSERVER_RESPONSE_COMPLETE_FINAL
_CLOSED = "Unable to send response. Response sender has been closed."


class InferenceResponseSender:
    """Sends the responses of one request.

    The SDK's sender is taken when it is needed: in a model that is not decoupled most requests are answered
    with what execute returns.
    """

    __slots__ = ("__weakref__", "_closed", "_count", "_decoupled", "_lock", "_request", "_sdk")

    def __init__(self, request: Request, decoupled: bool) -> None:
        self._request: Request | None = request
        self._sdk: ResponseSender | None = None
        self._decoupled = decoupled
        self._closed = False
        self._count = 0
        self._lock = threading.Lock()
        if decoupled:
            self.attach()

    def send(self, response: InferenceResponse | None = None, flags: int = 0) -> None:
        """Send a response, or the final flag, or both."""
        if self._decoupled and flags == 0 and type(response) is InferenceResponse and not self._closed:
            # Most responses of a stream: nothing must happen once, so no lock.
            self._count = 1
            self._give(self.attach(), response, False)
            return
        if flags not in (0, FINAL):
            raise TritonModelException("Unable to send response. Unsupported flag provided.")
        if response is None and flags == 0:
            raise TritonModelException(
                "Inference Response object must be provided when the response flags is set to zero."
            )
        if response is not None and not isinstance(response, InferenceResponse):
            raise TypeError(
                "send(): incompatible function arguments. The following argument types are supported:\n"
                "    1. (self: c_python_backend_utils.InferenceResponseSender, response: "
                "c_python_backend_utils.InferenceResponse = None, flags: int = 0) -> None\n\n"
                "Invoked with: "
                f"{self!r}, {response!r}"
            )
        first = self.count(response is not None, flags)
        sender = self.attach()
        if response is None:
            if self._decoupled:
                sender.close()
            return
        self._give(sender, response, flags == FINAL or (first and not self._decoupled))

    @staticmethod
    def _give(sender: ResponseSender, response: InferenceResponse, final: bool) -> None:
        try:
            sender.send(as_sdk(response), final)
        except TritonError as error:
            if not sender.closed:
                sender.send(InternalError(error.message), final)
            raise TritonModelException(error.message) from None

    def is_cancelled(self) -> bool:
        """Tell whether the client no longer waits."""
        if self._sdk is not None:
            return self._sdk.is_cancelled()
        return self._request is not None and self._request.is_cancelled()

    def count(self, has_response: bool, flags: int) -> bool:
        """Note that something is sent, and tell whether it is the first.

        :raises TritonModelException: it may not be sent.
        """
        with self._lock:
            if not self._decoupled:
                if has_response and self._count > 0:
                    raise TritonModelException(
                        "Unable to send response. Non-decoupled model cannot send more than one response."
                    )
                if not has_response and self._count == 0:
                    raise TritonModelException(
                        "Unable to send response. Non-decoupled model cannot send complete final before "
                        "sending a response."
                    )
            if self._closed:
                raise TritonModelException(_CLOSED)
            self._closed = flags == FINAL
            self._count += 1
            return self._count == 1

    def attach(self) -> ResponseSender:
        """Take the SDK's sender: the request is answered by this one from now on."""
        if self._sdk is None:
            self._take()
        assert self._sdk is not None
        return self._sdk

    def _take(self) -> None:
        with self._lock:  # a thread may send what execute leaves to it just as execute returns
            if self._sdk is None:
                if self._request is None:
                    raise TritonModelException(_CLOSED)
                self._sdk = self._request.response_sender()
                self._request = None

    def fail(self, message: str) -> None:
        """Answer with an error what is not answered yet."""
        self.close()
        if self._sdk is not None and not self._sdk.closed:
            self._sdk.send(InternalError(message), final=True)

    def reschedule(self) -> None:
        """Have Triton execute the request again, unless it has its last response."""
        self.close()
        if self._sdk is not None and not self._sdk.closed:
            self._sdk.send(Response(reschedule=True))

    def is_answered(self) -> bool:
        """Tell whether the request has its last response, by this or by what execute returned."""
        return self._closed if self._sdk is None else self._sdk.closed

    def is_attached(self) -> bool:
        """Tell whether it has the SDK's sender."""
        return self._sdk is not None

    def is_untouched(self) -> bool:
        """Tell whether nothing was sent."""
        return self._count == 0

    def close(self) -> None:
        """Send nothing any more: the request is answered in another way."""
        with self._lock:
            self._closed = True
            self._request = None


def names(owner: PythonModel | None) -> dict[str, Any]:
    """Give what the utils module has of this file."""
    return {"InferenceResponseSender": InferenceResponseSender}
