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
    :param parameters: name to bool, int, float or str; the client sees them beside the outputs. See
        TRITONBACKEND_ResponseSetStringParameter and its siblings.
    :param states: name to value, as for outputs: what the sequence's next request finds in the input that
        the config's ``sequence_batching.state`` pairs with the name. One that is not given stays as it was,
        and so do all where the request fails. See TRITONBACKEND_StateUpdate.
    :param reschedule: the request is not done: Triton executes it again in a later batch. Only for models
        with ``sequence_batching { iterative_sequence: true }``; outputs beside it only if the model is
        decoupled.

    A Response answers one request, once: it cannot be returned again.
    """

    __slots__ = ("error", "outputs", "parameters", "reschedule", "sent", "states")

    def __init__(
        self,
        outputs: Mapping[str, Any] | None = None,
        # Not keyword-only: looking for arguments that are not given would cost each request some 50 ns.
        error: BaseException | None = None,
        parameters: Mapping[str, bool | int | float | str] | None = None,
        states: Mapping[str, Any] | None = None,
        reschedule: bool = False,
    ) -> None:
        self.outputs = outputs
        self.error = error
        self.parameters = parameters
        self.states = states
        self.reschedule = reschedule
        #: Set when the server has taken the response.
        self.sent = False

    def __repr__(self) -> str:
        if self.error is not None:
            return f"<Response error={self.error!r}>"
        return f"<Response {list(self.outputs or ())}>"
