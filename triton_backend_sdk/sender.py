"""The means to answer a request later, from any thread, with one response or many."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from triton_backend_sdk.response import Response


class ResponseSender:
    """Answers one request; made by :meth:`Request.response_sender`, one per request.

    ``execute`` returns ``None`` for the request, which the server keeps until the sender is done with it. In
    a decoupled model any number of responses may be sent; in another exactly one. A sender that is closed or
    dropped ends the request: without a response before that, a model that is not decoupled gets an error
    sent for it, and so does one whose sender is dropped rather than closed.

    It is safe to use from any thread. Responses of one request leave in the order of the calls.

    The implementation that runs in the server is C (``_ffi/src/sender.c``).
    See TRITONBACKEND_ResponseFactory.
    """

    __slots__ = ()

    #: The final response has been sent.
    closed: bool

    def send(self, response: Response | BaseException, final: bool = False) -> None:
        """Send a response, or an error.

        :param final: it is the last; always so in a model that is not decoupled.
        :raises InternalError: the response contradicts the config (nothing is sent then), or the request has
            its final response already.
        """
        raise NotImplementedError

    def close(self) -> None:
        """End the request; harmless when that has happened. See TRITONBACKEND_ResponseFactorySendFlags."""
        raise NotImplementedError

    def is_cancelled(self) -> bool:
        """Tell whether the client no longer waits; it costs nanoseconds.

        Always False once the request is answered.
        """
        raise NotImplementedError

    def _fail(self, code: int, message: str) -> None:
        raise NotImplementedError

    def __enter__(self) -> ResponseSender:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close; after an exception send that, unless the final response was sent before."""
        if error is not None and not self.closed:
            self.send(error, final=True)
        self.close()

    def __repr__(self) -> str:
        return f"<ResponseSender {'closed' if self.closed else 'open'}>"
