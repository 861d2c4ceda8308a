"""Tensors over NumPy's memory, with the face and the messages of the C ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from triton_backend_sdk.dtypes import DataType
from triton_backend_sdk.enums import MemoryType
from triton_backend_sdk.tensor import Tensor
from triton_backend_sdk.testing.wire import decode_bytes, from_wire

if TYPE_CHECKING:
    import numpy.typing as npt

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
