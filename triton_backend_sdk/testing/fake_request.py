"""A request over NumPy's memory, with the face and the messages of the C one."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from triton_backend_sdk.deadline import Deadline
from triton_backend_sdk.dtypes import DataType
from triton_backend_sdk.enums import RequestFlag
from triton_backend_sdk.errors import InternalError, NotFoundError
from triton_backend_sdk.request import Request
from triton_backend_sdk.testing.fake_reply import Reply
from triton_backend_sdk.testing.fake_sender import FakeSender
from triton_backend_sdk.testing.fake_tensor import UNWRITTEN, FakeTensor
from triton_backend_sdk.trace import NO_TRACE, Trace

if TYPE_CHECKING:
    from triton_backend_sdk.model_instance import ModelInstance
    from triton_backend_sdk.specs import TensorSpec
    from triton_backend_sdk.testing.fake_output import OutputSpecs
    from triton_backend_sdk.testing.fake_sequence import FakeSequence

#: What cannot be read once the request was given back.
_FACTS = (
    "_inputs",
    "_start_ns",
    "_trace",
    "batch_size",
    "correlation_id",
    "flags",
    "id",
    "instance",
    "parameters",
    "requested_outputs",
    "timeout_us",
)


class FakeRequest(Request):
    """A request over NumPy inputs; ``cancel()`` is what a client does that no longer waits."""

    __slots__ = (*_FACTS, "_count", "_reply", "_specs")

    def __init__(
        self,
        inputs: Mapping[str, FakeTensor],
        specs: OutputSpecs,
        instance: ModelInstance,
        sequence: FakeSequence,
        *,
        batch_size: int,
        id: str,  # noqa: A002  the class's own word
        parameters: Mapping[str, str | int | bool | float],
        requested_outputs: tuple[str, ...],
        trace: Trace | None = None,
        correlation_id: int | str = 0,
        flags: RequestFlag = RequestFlag.NONE,
        timeout_us: int = 0,
    ) -> None:
        self._inputs = dict(inputs)
        self._specs = specs
        self._start_ns = time.monotonic_ns()
        self._trace = trace or NO_TRACE
        self.instance = instance
        self.batch_size = batch_size
        self.id = id
        self.parameters = dict(parameters)
        self.requested_outputs = requested_outputs
        self.correlation_id = correlation_id
        self.flags = flags
        self.timeout_us = timeout_us
        self._reply = Reply(instance.model, specs, requested_outputs, batch_size, sequence)
        self._inputs.update(sequence.begin())
        self._count = len(self._inputs)

    def __getattr__(self, name: str) -> Any:
        if name in _FACTS:
            raise InternalError("the request was given back by its release(): read what you need before")
        raise AttributeError(f"'FakeRequest' object has no attribute {name!r}")

    def _begin(self) -> Reply:
        """Start to execute it; one that was executed before starts anew."""
        if self._reply.given_back:
            raise InternalError("this request was released by an execute before: make another")
        self._start_ns = time.monotonic_ns()
        if self._reply.answered:
            self._reply = self._reply.fresh()
        self._inputs.update(self._reply.sequence.begin())
        return self._reply

    def _again(self) -> None:
        """Execute it once more, as it asked: it does not start its sequence any more."""
        self.flags = RequestFlag.NONE
        self._inputs.update(self._reply.sequence.begin())

    def cancel(self) -> None:
        """Let the client wait no longer; harmless when it is answered."""
        self._reply.cancelled = True

    @property
    def trace(self) -> Trace:
        """See :attr:`Request.trace`."""
        return self._trace

    @property
    def outputs(self) -> Mapping[str, FakeTensor]:  # type: ignore[override]
        """See :attr:`Request.outputs`."""
        assert self._inputs is not None  # raises where it was given back
        return {} if self._reply.decoupled else dict(self._reply.outputs)

    @property
    def deadline(self) -> Deadline:  # type: ignore[override]
        """See :attr:`Request.deadline`."""
        return Deadline(self.timeout_us, self._start_ns)

    def is_cancelled(self) -> bool:
        """See :meth:`Request.is_cancelled`."""
        assert self._inputs is not None
        return self._reply.cancelled

    def response_sender(self) -> FakeSender:
        """See :meth:`Request.response_sender`."""
        assert self._inputs is not None
        return FakeSender(self._reply)

    def release(self) -> None:
        """See :meth:`Request.release`."""
        if self._reply.given_back:
            return
        self._reply.given_back = True
        for name in _FACTS:
            delattr(self, name)

    def output(self, name: str, shape: Sequence[int], dtype: Any = None) -> FakeTensor:
        """See :meth:`Request.output`."""
        tensor = self._writable(self._specs.find(name), shape, dtype, "return it in the Response")
        if name in self.requested_outputs:
            self._reply.add_output(tensor)
        return tensor

    def state(self, name: str, shape: Sequence[int], dtype: Any = None) -> FakeTensor:
        """See :meth:`Request.state`."""
        sequence = self._reply.sequence
        instead = "give it with Response(states=...)"
        tensor = self._writable(sequence.find(name), shape, dtype, instead, sequence.specs)
        sequence.add(tensor)
        return tensor

    def _writable(
        self,
        spec: TensorSpec,
        shape: Sequence[int],
        dtype: Any,
        instead: str,
        specs: OutputSpecs | None = None,
    ) -> FakeTensor:
        specs = specs or self._specs
        what = f"{specs.kind} '{spec.name}'"
        specs.check_shape(spec, shape, self.batch_size)
        if dtype is not None and DataType.of(dtype) is not spec.dtype:
            asked = DataType.of(dtype)
            raise InternalError(f"{what}: asked for as {asked!s}, but the config says {spec.dtype!s}")
        if spec.dtype is DataType.BYTES:
            raise InternalError(f"{what} is BYTES, whose size is not known ahead: {instead}")
        data = np.full(int(np.prod(shape, dtype=np.int64)) * spec.dtype.itemsize, UNWRITTEN, np.uint8)
        return FakeTensor(spec.name, spec.dtype, shape, data, readonly=False)

    def input_buffers(self, name: str) -> tuple[FakeTensor, ...]:
        """See :meth:`Request.input_buffers`; here it is always one."""
        data = self[name].data
        return (FakeTensor(name, DataType.UINT8, data.shape, data, readonly=True),) if data.size else ()

    def __getitem__(self, name: str) -> FakeTensor:
        try:
            return self._inputs[name]
        except KeyError:
            raise NotFoundError(
                f"the request has no input {name!r}; it has {tuple(self._inputs)!r}"
            ) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._inputs)

    def __len__(self) -> int:
        return self._count
