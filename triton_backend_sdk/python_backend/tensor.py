"""``Tensor`` of ``triton_python_backend_utils``: an input of a request, or what a model makes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from triton_backend_sdk import DataType, MemoryType
from triton_backend_sdk.python_backend.pb_error import TritonModelException, text

if TYPE_CHECKING:
    from triton_backend_sdk import Tensor as SDKTensor
    from triton_backend_sdk.python_backend.owner import PythonModel

_BYTES = DataType.BYTES.c_value
#: NumPy's dtypes by the numbers of Triton's.
_NUMBERS = {
    np.dtype(dtype.numpy_name): dtype.c_value for dtype in DataType if dtype.dlpack and dtype.value != "BF16"
} | {np.dtype(object): _BYTES}


class Tensor:
    """A named tensor: over an array, a DLPack object or memory of Triton's."""

    __slots__ = ("__weakref__", "_array", "_dtype", "_name", "_source")

    _array: Any
    #: Triton's number of its datatype; 0 where it is the source's.
    _dtype: int
    _name: str
    #: An SDK tensor, or what speaks DLPack; None over an array.
    _source: Any

    def __init__(self, name: str, array: Any, /) -> None:
        if type(name) is not str:
            name = text("Tensor", "name", name)
        if not isinstance(array, np.ndarray):
            raise TypeError(
                "__init__(): incompatible constructor arguments. The following argument types are "
                "supported:\n"
                "    1. c_python_backend_utils.Tensor(arg0: str, arg1: numpy.ndarray)\n\n"
                f"Invoked with: {name!r}, {array!r}"
            )
        if not name:
            raise TritonModelException("Tensor name cannot be an empty string.")
        self._name = name
        self._dtype = _NUMBERS.get(array.dtype) or _rarer(array.dtype)
        self._array = array if array.flags.c_contiguous else np.ascontiguousarray(array)
        self._source = None

    def name(self) -> str:
        """Give the name."""
        return self._name

    def as_numpy(self) -> Any:
        """Give the tensor as an array, the same one each time."""
        if self._array is None:
            self._array = self._source.numpy()
        return self._array

    def triton_dtype(self) -> int:
        """Give Triton's number of the datatype."""
        return self._dtype or self._source.dtype.c_value

    def shape(self) -> list[int]:
        """Give the dimensions."""
        return list((self._source if self._array is None else self._array).shape)

    def is_cpu(self) -> bool:
        """Tell whether the CPU can read it."""
        return self._source is None or self._source.memory_type is not MemoryType.GPU


def received(source: SDKTensor) -> Tensor:
    """Give the tensor of an input."""
    tensor = Tensor.__new__(Tensor)
    tensor._name = source.name
    tensor._source = source
    tensor._array = None
    tensor._dtype = 0
    return tensor


def value(tensor: Tensor) -> Any:
    """Give what a Response takes for a tensor."""
    if tensor._source is None or (tensor._array is not None and tensor.triton_dtype() != _BYTES):
        return tensor._array
    return tensor._source


def _rarer(dtype: np.dtype[Any]) -> int:
    if dtype.kind == "S":
        return _BYTES
    if dtype.name == "bfloat16":
        return DataType.BF16.c_value
    raise TritonModelException("NumPy dtype is not supported.")


def names(owner: PythonModel | None) -> dict[str, Any]:
    """Give what the utils module has of this file."""
    return {"Tensor": Tensor}
