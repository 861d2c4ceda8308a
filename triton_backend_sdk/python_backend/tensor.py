"""``Tensor`` of ``triton_python_backend_utils``: an input of a request, or what a model makes.

An input is opened when it is first looked at. Its memory is Triton's, and perhaps a client's or another
model's: an array of it is read-only. The stock backend hands out private copies. So do we where that costs
next to nothing, and where a model would see the difference (``writes.py``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from triton_backend_sdk import DataType, MemoryType, TritonError
from triton_backend_sdk import Tensor as SDKTensor
from triton_backend_sdk.python_backend.foreign import Foreign, check_speaks, is_capsule
from triton_backend_sdk.python_backend.pb_error import TritonModelException, text

if TYPE_CHECKING:
    from triton_backend_sdk.python_backend.owner import PythonModel

#: Bytes up to which an input is copied rather than viewed: the copy costs less than what keeps a view.
SMALL = 4096
_BYTES = DataType.BYTES.c_value
#: Triton's numbers of datatypes by NumPy's, which are quicker to look up than dtypes.
_NUMBERS = {np.dtype(code).num: DataType.of(np.dtype(code)).c_value for code in "?bBhHiIlLqQefd"}


class Tensor:
    """A named tensor: over an array, a DLPack object or memory of Triton's."""

    __slots__ = ("__weakref__", "_array", "_dtype", "_name", "_private", "_source")

    #: None until an input is looked at.
    _array: Any
    #: Triton's number of the datatype of ``_array``; 0 where that is not there yet.
    _dtype: int
    _name: str
    #: Whether an input is copied when it is looked at, however large.
    _private: bool
    #: What is sent where there is no array, and always for BYTES: a tensor of the SDK's, what speaks DLPack,
    #: or the elements of ``_array`` when the Tensor was made.
    _source: Any

    def __init__(self, name: str, array: Any, /) -> None:
        if type(name) is not str:
            name = _text(name, array)
        if not isinstance(array, np.ndarray):
            raise _unfit(name, array)
        if not name:
            raise TritonModelException("Tensor name cannot be an empty string.")
        self._name = name
        dtype = array.dtype
        self._dtype = number = (_NUMBERS.get(dtype.num) if dtype.isnative else None) or _rarer(dtype)
        self._array = array if array.flags.c_contiguous else np.ascontiguousarray(array)
        self._source = array.astype(object) if number == _BYTES else None

    def name(self) -> str:
        """Give the name."""
        return self._name

    def as_numpy(self) -> Any:
        """Give the tensor as an array, the same one each time.

        :raises TritonModelException: it lies in a GPU's memory, or is BF16 without the package ml_dtypes.
        """
        array = self._array
        return self._open() if array is None else array

    def triton_dtype(self) -> int:
        """Give Triton's number of the datatype."""
        if self._dtype:
            return self._dtype
        source = self._source
        if source is None:
            return _NUMBERS.get(self._array.dtype.num) or _rarer(self._array.dtype)
        return source.dtype.c_value  # type: ignore[no-any-return]

    def shape(self) -> list[int]:
        """Give the dimensions."""
        source, array = self._source, self._array  # in this order: another thread may detach it
        return list(source.shape if array is None else array.shape)

    def is_cpu(self) -> bool:
        """Tell whether the CPU can read it."""
        return self._array is not None or self._source.memory_type is not MemoryType.GPU

    @staticmethod
    def from_dlpack(name: str, tensor: Any, /) -> Tensor:
        """Make a tensor of anything that speaks DLPack, or of a capsule, without a copy."""
        name = text("from_dlpack", "name", name)
        if not name:
            raise TritonModelException("Tensor name cannot be an empty string.")
        check_speaks(tensor)
        made = received(name, Foreign(tensor))
        if made.is_cpu():
            _look(made, tensor)
        return made

    def to_dlpack(self) -> Any:
        """Give a DLPack capsule.

        :raises TritonModelException: BYTES, which DLPack cannot express.
        """
        return self.__dlpack__()

    def __dlpack__(self, stream: Any = None, **wishes: Any) -> Any:
        """Give a DLPack capsule, for ``torch.from_dlpack(tensor)``."""
        if self.triton_dtype() == _BYTES:
            raise TritonModelException("DLPack does not have support for string tensors.")
        array, source = self._array, self._source
        if array is not None and (source is None or array.flags.writeable):
            return array.__dlpack__(**wishes)
        lent = isinstance(source, SDKTensor) and source.readonly
        if lent and source.memory_type is not MemoryType.GPU and wishes.get("copy") is None:
            wishes["copy"] = True  # not all that take it heed that it is read-only
        return source.__dlpack__(stream=stream, **wishes)

    def __dlpack_device__(self) -> tuple[int, int]:
        """Give DLPack's device type and id."""
        return (1, 0) if self._array is not None else self._source.__dlpack_device__()

    def _open(self) -> Any:
        source = self._source
        try:
            array = source.numpy()
        except TritonError as error:
            if source.memory_type is MemoryType.GPU:
                message = "Tensor is stored in GPU and cannot be converted to NumPy."
                raise TritonModelException(message) from None
            if source.dtype is not DataType.BF16:
                raise TritonModelException(error.message) from None
            raise TritonModelException(
                "Tensor dtype is BF16 and cannot be converted to NumPy without the package ml_dtypes: pip "
                "install ml_dtypes, or use to_dlpack() and from_dlpack() instead."
            ) from None
        if array.dtype.hasobject:
            self._dtype = _BYTES
        elif (self._private or array.nbytes <= SMALL) and source.readonly:
            array = array.copy()
            self._source = None
        self._array = array
        return array


_new = Tensor.__new__


def received(name: str, source: SDKTensor | Foreign, private: bool = False) -> Tensor:
    """Give the tensor of an input, of a called model's output, or of what speaks DLPack.

    :param private: it is copied when it is looked at, if it is not the model's own.
    """
    tensor = _new(Tensor)
    tensor._name = name
    tensor._source = source
    tensor._array = None
    tensor._dtype = 0
    tensor._private = private
    return tensor


def detach(tensor: Tensor) -> None:
    """Let go of an input's memory, where the model keeps the tensor beyond its request."""
    source = tensor._source
    if not isinstance(source, SDKTensor):
        return
    tensor._private = True
    try:
        array = tensor.as_numpy()
    except TritonModelException:  # a GPU's memory, or BF16 without ml_dtypes: kept as it is
        return
    if tensor._dtype == _BYTES:
        tensor._source = array.copy()
    else:
        tensor._array = array if array.flags.writeable else array.copy()
        tensor._source = None


def is_view(tensor: Tensor) -> bool:
    """Tell whether the model was given an array of Triton's memory."""
    return tensor._source is not None and tensor._array is not None and tensor._dtype == 0


def value(tensor: Tensor) -> Any:
    """Give what a Response takes for a tensor."""
    array = tensor._array
    return tensor._source if array is None or tensor._dtype == _BYTES else array


def _look(tensor: Tensor, given: Any) -> None:
    """Take the array of a DLPack object, if NumPy can hold it."""
    try:
        array = tensor._source.numpy()
    except (BufferError, RuntimeError, TypeError):  # bfloat16, or a capsule of a GPU's memory
        if is_capsule(given):
            raise TritonModelException(
                "NumPy cannot read the DLPack capsule: give from_dlpack the object that it was made of"
            ) from None
        return
    number = _NUMBERS.get(array.dtype.num)
    if number is None:
        raise TritonModelException(f"{array.dtype} is no datatype of Triton's.")
    tensor._array, tensor._dtype = array, number


def _text(name: Any, array: Any) -> str:
    if not isinstance(name, (str, bytes)):
        raise _unfit(name, array)
    return name if isinstance(name, str) else name.decode()


def _unfit(name: Any, array: Any) -> TypeError:
    return TypeError(
        "__init__(): incompatible constructor arguments. The following argument types are supported:\n"
        "    1. c_python_backend_utils.Tensor(arg0: str, arg1: numpy.ndarray)\n\n"
        f"Invoked with: {name!r}, {array!r}"
    )


def _rarer(dtype: np.dtype[Any]) -> int:
    if dtype.kind in "SO":
        return _BYTES
    if dtype.name == "bfloat16":
        return DataType.BF16.c_value
    raise TritonModelException("NumPy dtype is not supported.")


def names(owner: PythonModel | None) -> dict[str, Any]:
    """Give what the utils module has of this file."""
    return {"Tensor": Tensor}
