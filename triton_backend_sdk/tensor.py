"""A tensor that a plugin reads or writes: a view, never a copy, of a buffer of Triton's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from triton_backend_sdk.memory import to_cpu

if TYPE_CHECKING:
    import numpy.typing as npt

    from triton_backend_sdk.dtypes import DataType
    from triton_backend_sdk.enums import MemoryType


class Tensor:
    """An input or output tensor.

    Speaks DLPack (``np.from_dlpack``, ``torch.from_dlpack``), the buffer protocol (``memoryview``,
    ``np.asarray``) and :meth:`numpy`. Inputs are read-only. While any array, memoryview or capsule made
    from an input is alive, Triton keeps the input's memory: copy what you want to keep for long.

    The implementation that runs in the server is C (``_ffi/src/tensor.c``); the fake host of the tests
    has one over NumPy.
    """

    __slots__ = ()

    #: Name in the model's config.
    name: str
    #: Triton's datatype.
    dtype: DataType
    #: Dimensions, the batch dimension first where the model batches.
    shape: tuple[int, ...]
    #: Bytes in the buffer. For BYTES that is the serialized size, 4-byte lengths included.
    nbytes: int
    memory_type: MemoryType
    #: Device of GPU memory; 0 otherwise.
    memory_type_id: int
    readonly: bool
    #: Address of the first element, in the memory that memory_type names.
    data_ptr: int

    def numpy(self) -> npt.NDArray[Any]:
        """Give a NumPy view of the buffer; for BYTES a new object array whose elements are ``bytes``.

        :raises UnsupportedError: the memory is a GPU's (see :meth:`cpu`), or BF16 without ml_dtypes.
        :raises InvalidArgError: a BYTES tensor is malformed.
        """
        raise NotImplementedError

    def cpu(self) -> Tensor:
        """Give the tensor where the CPU can read it: itself, or a copy of GPU memory.

        :raises UnavailableError: it is a GPU's, and cuda-python is not installed.
        """
        return to_cpu(self)

    def tolist(self) -> Any:
        """Give the elements as nested Python lists (``bytes`` for BYTES)."""
        return self.numpy().tolist()

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """Give a DLPack capsule, versioned where ``max_version`` allows it.

        A consumer that knows only the legacy capsule cannot be told that an input is read-only, so it gets
        a copy, or BufferError with ``copy=False``. GPU memory is never copied here: such a consumer gets the
        view, and ``copy=True`` is refused.

        Whatever ``stream`` the consumer names may read at once: Triton hands over an input when its data is
        there, and the SDK's own copies are done when they return.

        :raises BufferError: BYTES, or another device than the tensor's.
        """
        raise NotImplementedError

    def __dlpack_device__(self) -> tuple[int, int]:
        """Give DLPack's device type and id: (1, 0) CPU, (3, 0) pinned, (2, id) CUDA."""
        raise NotImplementedError

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """Let ``np.asarray(tensor)`` mean :meth:`numpy`."""
        array = self.numpy()
        if dtype is not None and array.dtype != dtype:
            return array.astype(dtype)
        return array.copy() if copy else array

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a tensor without dimensions has no length")
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<Tensor {self.name!r} {self.dtype.value} {list(self.shape)}>"
