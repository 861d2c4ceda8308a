"""One inference request, as a mapping from input name to tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from triton_backend_sdk.enums import MemoryType
from triton_backend_sdk.errors import InternalError
from triton_backend_sdk.memory import BufferAttributes, Placement, input_attributes, output_placement
from triton_backend_sdk.tensors import Tensors
from triton_backend_sdk.trace import NO_TRACE, RequestTrace, Trace

if TYPE_CHECKING:
    from triton_backend_sdk.deadline import Deadline
    from triton_backend_sdk.enums import RequestFlag
    from triton_backend_sdk.model_instance import ModelInstance
    from triton_backend_sdk.sender import ResponseSender
    from triton_backend_sdk.tensor import Tensor


class Request(Tensors):
    """A request: ``request["IN"]`` is the input tensor IN.

    The implementation that runs in the server is C (``_ffi/src/request.c``); the fake host of the tests
    has one over NumPy.
    """

    __slots__ = ()

    #: The client's request id, "" where it gave none. See TRITONBACKEND_RequestId.
    id: str
    #: The client's parameters with their types. See TRITONBACKEND_RequestParameter.
    parameters: dict[str, str | int | bool | float]
    #: Outputs the client asked for (all of the config's if it named none); others are pruned.
    requested_outputs: tuple[str, ...]
    #: What :meth:`output` has handed out so far, by name; empty in a decoupled model.
    outputs: Mapping[str, Tensor]
    #: Size of the batch dimension; 1 for a model that does not batch.
    batch_size: int
    #: The sequence it belongs to: an int, or a str where the client's id is one; 0 for none.
    correlation_id: int | str
    #: Whether it starts or ends its sequence. See TRITONBACKEND_RequestFlags.
    flags: RequestFlag
    #: The client's timeout in microseconds; 0 for none.
    timeout_us: int
    #: When that timeout ends.
    deadline: Deadline
    #: The instance that executes it; None when that is gone, or without a server.
    instance: ModelInstance | None
    #: The SDK's own: address of the TRITONBACKEND_Request.
    _handle: int
    _is_traced: bool

    @property
    def trace(self) -> Trace:
        """The trace in which Triton records this request; falsy where it records none."""
        return RequestTrace(self) if self._is_traced else NO_TRACE

    def output(self, name: str, shape: Sequence[int], dtype: Any = None) -> Tensor:
        """Give a writable view of Triton's own response buffer for an output.

        What is written there is the response: nothing is copied. The output need not be named again in the
        Response. The response is sent when the last array made from the view is gone; one that is still held
        when ``execute`` has returned delays it. In a decoupled model the view is of memory that is copied
        when the response is sent, so that one response need not wait for the last one's arrays.

        :param shape: batch dimension first, where the model batches.
        :param dtype: only to assert it; the config says it.
        :raises InternalError: the config has no such output, shape or dtype contradict it, it was asked for
            before, or it is BYTES, whose size is not known ahead.
        """
        raise NotImplementedError

    def input_buffers(self, name: str) -> tuple[Tensor, ...]:
        """Give the parts of an input as Triton holds them: flat UINT8 tensors, in order, nothing copied.

        ``request[name]`` joins them, which copies where there are several. See TRITONBACKEND_InputBuffer.

        :raises NotFoundError: (a KeyError) the request has no such input.
        """
        raise NotImplementedError

    def input_attributes(self, name: str) -> tuple[BufferAttributes, ...]:
        """Say of each part of an input how large it is and where it lies.

        See TRITONBACKEND_InputBufferAttributes.

        :raises NotFoundError: (a KeyError) the request has no such input.
        """
        return input_attributes(self, name)

    def output_placement(
        self,
        name: str | None = None,
        nbytes: int | None = None,
        memory_type: MemoryType = MemoryType.CPU,
        memory_type_id: int = 0,
    ) -> Placement | None:
        """Ask Triton where an output of this request will lie, before it is made; None where it cannot tell.

        :param name: any output, if not given.
        :param nbytes: of any size, if not given.
        :param memory_type: what you would like, which Triton takes into account.

        See TRITONBACKEND_RequestOutputBufferProperties.
        """
        return output_placement(self, name, nbytes, Placement(memory_type, memory_type_id))

    def state(self, name: str, shape: Sequence[int], dtype: Any = None) -> Tensor:
        """Give a writable view of Triton's buffer for a new state of the request's sequence.

        What is written there becomes the input of the sequence's next request when this one is answered, and
        not with an error. It need not be named again in the Response. Its first content is unspecified. A
        state whose config has a dimension of -1 is copied once, when it is taken. See
        TRITONBACKEND_StateBuffer.

        :param name: the ``output_name`` of the config's ``sequence_batching.state``.
        :param shape: batch dimension (1) first, where the model batches.
        :param dtype: only to assert it; the config says it.
        :raises InternalError: the config has no such state, shape or dtype contradict it, it was given
            before, or it is BYTES, which goes into ``Response(states=...)``.
        """
        raise NotImplementedError

    def response_sender(self) -> ResponseSender:
        """Take the means to answer this request later; ``execute`` then returns ``None`` for it.

        :raises InternalError: it was taken before, or the request is answered.
        """
        raise NotImplementedError

    def _response_sender(self) -> ResponseSender:
        return self.response_sender()

    def is_cancelled(self) -> bool:
        """Tell whether the client no longer waits; it costs nanoseconds.

        See TRITONBACKEND_RequestIsCancelled.
        """
        raise NotImplementedError

    def release(self) -> None:
        """Give the request and its inputs back to the server before it is answered.

        For one that is answered for long, such as a stream over a large input. Nothing can be read from it
        afterwards, and arrays that still look at an input delay it. See TRITONBACKEND_RequestRelease.

        :raises InternalError: another thread is making an output of it just now.
        """
        raise NotImplementedError

    def __repr__(self) -> str:
        try:
            return f"<Request {self.id!r} {list(self)}>"
        except InternalError:
            return "<Request, released>"
