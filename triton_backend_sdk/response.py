"""What a plugin answers to one request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Response:
    """The outputs for one request, or the error that it gets instead.

    :param outputs: output name to value: an array, anything that speaks DLPack or the buffer protocol, or a
        Tensor. For BYTES also a list of ``bytes`` and ``str``. It is copied at most once, into Triton's
        buffer; an output that was written through :meth:`Request.output` is not copied.
    :param error: fails this request and none of its neighbours.

    A Response answers one request, once: it cannot be returned again.
    """

    __slots__ = ("error", "outputs", "sent")

    def __init__(
        self, outputs: Mapping[str, Any] | None = None, *, error: BaseException | None = None
    ) -> None:
        self.outputs = outputs
        self.error = error
        #: Set when the server has taken the response.
        self.sent = False

    def __repr__(self) -> str:
        if self.error is not None:
            return f"<Response error={self.error!r}>"
        return f"<Response {list(self.outputs or ())}>"
