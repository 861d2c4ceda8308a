"""Tensors and requests over NumPy's memory, with the faces and the messages of the C ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from triton_backend_sdk.dtypes import DataType
from triton_backend_sdk.enums import MemoryType
from triton_backend_sdk.errors import InternalError, NotFoundError
from triton_backend_sdk.request import Request
from triton_backend_sdk.tensor import Tensor
from triton_backend_sdk.testing.wire import decode_bytes, from_wire
from triton_backend_sdk.trace import NO_TRACE, Trace

if TYPE_CHECKING:
    import numpy.typing as npt

    from triton_backend_sdk.model_instance import ModelInstance
    from triton_backend_sdk.testing.fake_output import OutputSpecs

_CPU = (1, 0)
_DLPACK_IS_VERSIONED = np.lib.NumpyVersion(np.__version__) >= "2.1.0"
#: What an output holds before the plugin writes it: visible, where a server's memory is merely undefined.
UNWRITTEN = 0xA5


class FakeTensor(Tensor):
    """A tensor over a flat buffer of bytes.

    ``memoryview(tensor)`` needs Python 3.12, the first that lets a Python class offer a buffer; ``numpy()``,
    ``np.asarray`` and DLPack work on every version.
    """

    __slots__ = ("_data", "dtype", "memory_type", "memory_type_id", "name", "nbytes", "readonly", "shape")

    def __init__(
        self,
        name: str,
        dtype: DataType,
        shape: Sequence[int],
        data: npt.NDArray[np.uint8],
        *,
        readonly: bool,
    ) -> None:
        self._data = data.view()
        self._data.flags.writeable = not readonly
        self.name = name
        self.dtype = dtype
        self.shape = tuple(shape)
        self.nbytes = data.nbytes
        self.memory_type = MemoryType.CPU
        self.memory_type_id = 0
        self.readonly = readonly

    @property
    def data(self) -> npt.NDArray[np.uint8]:
        """The tensor's bytes."""
        data: npt.NDArray[np.uint8] = self._data
        return data

    @property
    def data_ptr(self) -> int:  # type: ignore[override]
        """See :attr:`Tensor.data_ptr`."""
        return int(self._data.ctypes.data)

    def numpy(self) -> npt.NDArray[Any]:
        """See :meth:`Tensor.numpy`."""
        if self.dtype is DataType.BYTES:
            return decode_bytes(self._data.tobytes(), self.shape, self.name)
        return from_wire(self.dtype, self.shape, self._data)

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """See :meth:`Tensor.__dlpack__`."""
        if dl_device not in (None, _CPU):
            raise BufferError(f"tensor '{self.name}' is on device {_CPU}, not on {dl_device}")
        if self.dtype is DataType.BYTES:
            raise BufferError(f"tensor '{self.name}': DLPack has no BYTES; use numpy() or tolist()")
        versioned = _DLPACK_IS_VERSIONED and max_version is not None and max_version[0] >= 1
        if self.readonly and not versioned and not copy:
            if copy is False:
                reason = "which this consumer's DLPack cannot express; allow a copy"
                raise BufferError(f"tensor '{self.name}' is read-only, {reason}")
            copy = True
        array = self.numpy().copy() if copy else self.numpy()
        return array.__dlpack__(max_version=max_version) if versioned else array.__dlpack__()

    def __dlpack_device__(self) -> tuple[int, int]:
        """See :meth:`Tensor.__dlpack_device__`."""
        return _CPU

    def __buffer__(self, flags: int) -> memoryview:
        """Offer the bytes to Python's buffer protocol (3.12 and later)."""
        if self.dtype is DataType.BYTES:
            reason = "BYTES elements have no fixed size; use numpy() or tolist()"
            raise BufferError(f"tensor '{self.name}': {reason}")
        if self.readonly and flags & 1:  # PyBUF_WRITABLE
            raise BufferError(f"tensor '{self.name}': inputs are read-only")
        # The buffer protocol has no bfloat16: its bits are shown as integers.
        shown = DataType.UINT16 if self.dtype is DataType.BF16 else self.dtype
        return memoryview(from_wire(shown, self.shape, self._data))  # type: ignore[arg-type,unused-ignore]


class FakeRequest(Request):
    """A request over NumPy inputs."""

    __slots__ = (
        "_inputs",
        "_specs",
        "_trace",
        "answered",
        "batch_size",
        "id",
        "instance",
        "outputs",
        "parameters",
        "requested_outputs",
    )

    def __init__(
        self,
        inputs: Mapping[str, FakeTensor],
        specs: OutputSpecs,
        *,
        batch_size: int,
        id: str,  # noqa: A002  the class's own word
        parameters: Mapping[str, str | int | bool | float],
        requested_outputs: tuple[str, ...],
        trace: Trace | None = None,
        instance: ModelInstance | None = None,
    ) -> None:
        self.instance = instance
        self._inputs = dict(inputs)
        self._specs = specs
        self.batch_size = batch_size
        self.id = id
        self.parameters = dict(parameters)
        self.requested_outputs = requested_outputs
        self._trace = trace or NO_TRACE
        #: The response's outputs so far.
        self.outputs: dict[str, FakeTensor] = {}
        self.answered = False

    @property
    def trace(self) -> Trace:
        """See :attr:`Request.trace`."""
        return self._trace

    def output(self, name: str, shape: Sequence[int], dtype: Any = None) -> FakeTensor:
        """See :meth:`Request.output`."""
        spec = self._specs.find(name)
        self._specs.check_shape(spec, shape, self.batch_size)
        if dtype is not None and DataType.of(dtype) is not spec.dtype:
            asked = DataType.of(dtype)
            raise InternalError(
                f"output '{name}': asked for as {asked!s}, but the config says {spec.dtype!s}"
            )
        if spec.dtype is DataType.BYTES:
            reason = "whose size is not known ahead: return it in the Response"
            raise InternalError(f"output '{name}' is BYTES, {reason}")
        data = np.full(int(np.prod(shape, dtype=np.int64)) * spec.dtype.itemsize, UNWRITTEN, np.uint8)
        tensor = FakeTensor(name, spec.dtype, shape, data, readonly=False)
        if name in self.requested_outputs:
            self.add_output(tensor)
        return tensor

    def input_buffers(self, name: str) -> tuple[FakeTensor, ...]:
        """See :meth:`Request.input_buffers`; here it is always one."""
        data = self[name].data
        return (FakeTensor(name, DataType.UINT8, data.shape, data, readonly=True),) if data.size else ()

    def add_output(self, tensor: FakeTensor) -> None:
        """Make a tensor part of the response.

        :raises InternalError: it is there already, or the request is answered.
        """
        if self.answered:
            raise InternalError(f"output '{tensor.name}': the request was already answered")
        if tensor.name in self.outputs:
            raise InternalError(f"output '{tensor.name}': it was already handed out for this response")
        self.outputs[tensor.name] = tensor

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
        return len(self._inputs)
