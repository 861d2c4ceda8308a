"""``InferenceRequest`` of ``triton_python_backend_utils``: received, or made by a model to call another."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from triton_backend_sdk import Request
from triton_backend_sdk.python_backend import bls, inference_trace, made_request
from triton_backend_sdk.python_backend import tensor as tensors
from triton_backend_sdk.python_backend.owner import current
from triton_backend_sdk.python_backend.pb_error import TritonModelException
from triton_backend_sdk.python_backend.response_sender import InferenceResponseSender
from triton_backend_sdk.python_backend.tensor import Tensor, received

if TYPE_CHECKING:
    import asyncio

    from triton_backend_sdk.python_backend.infer_response import InferenceResponse
    from triton_backend_sdk.python_backend.inference_trace import InferenceTrace
    from triton_backend_sdk.python_backend.owner import PythonModel
    from triton_backend_sdk.python_backend.response_iterator import ResponseIterator

RELEASE_RESCHEDULE = 2
#: Several threads of a model may ask for a request's sender.
_taking = threading.Lock()


class InferenceRequest:
    """A request. One that a model makes has its fields in ``_made``; one that it receives is the SDK's."""

    __slots__ = ("__weakref__", "_flags", "_inputs", "_made", "_release_flags", "_request", "_sender")

    #: Whose it is, in the class that the model sees.
    _owner: ClassVar[PythonModel | None] = None

    def __init__(  # noqa: PLR0917  the stock backend's order
        self,
        request_id: str = "",
        correlation_id: int | str = 0,
        inputs: Sequence[Tensor] | None = None,
        requested_output_names: Sequence[str] | None = None,
        model_name: str | None = None,
        model_version: int = -1,
        flags: int = 0,
        timeout: int = 0,
        preferred_memory: Any = None,
        trace: Any = None,
        parameters: dict[str, Any] | None = None,
    ) -> None:
        made_request.check_flags(flags)
        self._made = made_request.make(
            request_id,
            correlation_id,
            inputs,
            requested_output_names,
            model_name,
            model_version,
            timeout,
            preferred_memory,
            trace,
            parameters,
        )
        self._request: Request | None = None
        self._sender: InferenceResponseSender | None = None
        self._inputs: list[Tensor] | None = list(inputs or ())
        self._flags: int | None = flags
        self._release_flags = 1

    def inputs(self) -> list[Tensor]:
        """Give the inputs."""
        return (self._inputs or opened(self))[:]

    def request_id(self) -> str:
        """Give the client's id, or ""."""
        request = self._request  # which may go meanwhile: see kept.py
        return self._made.rare.request_id if request is None else request.id

    def correlation_id(self) -> int | str:
        """Give the id of the sequence, or 0."""
        request = self._request
        return self._made.rare.correlation_id if request is None else request.correlation_id

    def flags(self) -> int:
        """Give the flags of the sequence."""
        request, flags = self._request, self._flags
        if flags is None:
            assert request is not None
            return int(request.flags)
        return flags

    def set_flags(self, flags: int, /) -> None:
        """Set the flags."""
        made_request.check_flags(flags)
        self._flags = flags

    def timeout(self) -> int:
        """Give the timeout in microseconds."""
        request = self._request
        return self._made.rare.timeout if request is None else request.timeout_us

    def parameters(self) -> str:
        """Give the parameters as JSON."""
        request = self._request
        if request is None:
            return self._made.parameters_text()
        return json.dumps(request.parameters, separators=(",", ":"), ensure_ascii=False)

    def requested_output_names(self) -> set[str]:
        """Give the names of the outputs that are asked for."""
        request = self._request
        return set(self._made.outputs if request is None else request.requested_outputs)

    def trace(self) -> InferenceTrace:
        """Give its trace, for the requests that are made for it."""
        request = self._request
        if request is None:
            return self._made.rare.trace or inference_trace.of(None)
        return inference_trace.of(request.trace)

    def exec(self, decoupled: bool = False) -> InferenceResponse | ResponseIterator:
        """Call the model and wait for its response; with ``decoupled`` give any number of them."""
        owner = self._owner or current()
        owner.calls += 1
        return bls.call(owner, self, decoupled)

    def async_exec(self, decoupled: bool = False) -> asyncio.Future[InferenceResponse | ResponseIterator]:
        """Call the model; the awaitable gives what exec gives."""
        owner = self._owner or current()
        owner.calls += 1
        return bls.call_async(owner, self, decoupled)

    def get_response_sender(self) -> InferenceResponseSender:
        """Give the means to answer it."""
        if self._sender is None:
            with _taking:
                self._take_sender()
        assert self._sender is not None
        return self._sender

    def _take_sender(self) -> None:
        if self._sender is not None:
            return
        if self._request is None:
            raise TritonModelException(
                "Unable to send response. Response sender has no reference to the decoupled state of the "
                "model."
            )
        decoupled = (self._owner or current()).model.decoupled
        self._sender = InferenceResponseSender(self._request, decoupled)

    def is_cancelled(self) -> bool:
        """Tell whether the client no longer waits."""
        request = self._request
        return request is not None and request.is_cancelled()

    def set_release_flags(self, flags: int, /) -> None:
        """Say what becomes of the request after execute: ALL, or RESCHEDULE."""
        made_request.check_flags(flags)
        self._release_flags = flags


def receive(cls: type[InferenceRequest], requests: list[Request]) -> list[InferenceRequest]:
    """Give the requests of a model's that the SDK's are."""
    new, received = cls.__new__, []
    for request in requests:
        made = new(cls)
        made._request = request
        made._inputs = None
        made._sender = None
        made._flags = None
        made._release_flags = 1
        received.append(made)
    return received


def opened(request: InferenceRequest) -> list[Tensor]:
    """Give the inputs of a request, in the list that is its own."""
    sdk, inputs = request._request, request._inputs  # in this order: see kept.py
    if inputs is None:
        assert sdk is not None
        private = request._owner is None or request._owner.private_inputs
        request._inputs = inputs = [received(name, sdk[name], private) for name in sdk]
    return inputs


def detach(request: InferenceRequest) -> None:
    """Let go of the SDK's request, which is answered, and which the model keeps."""
    sdk = request._request
    if sdk is None:
        return
    assert request._owner is not None
    for tensor in opened(request):
        tensors.detach(tensor)
    request._flags = request.flags()
    request._made = made_request.of_received(sdk, request._owner.model.name)
    request._made.options.pop("trace", None)
    request._request = None


def names(owner: PythonModel | None) -> dict[str, Any]:
    """Give what the utils module has of this file."""
    if owner is None:
        return {"InferenceRequest": InferenceRequest}
    bound = type("InferenceRequest", (InferenceRequest,), {"__slots__": (), "_owner": owner})
    return {"InferenceRequest": bound}
