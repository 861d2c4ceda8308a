"""What a caller has (arrays, lists, numbers, texts, other frameworks' tensors) as an array of a datatype."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from triton_backend_sdk.dtypes import DataType

if TYPE_CHECKING:
    import numpy.typing as npt

#: NumPy's rules of casting: ``safe`` loses nothing, ``same_kind`` may lose precision, ``unsafe`` anything.
Cast: TypeAlias = Literal["no", "safe", "same_kind", "unsafe"]
CASTS: tuple[Cast, ...] = ("no", "safe", "same_kind", "unsafe")

_FLOATS = (DataType.FP16, DataType.FP32, DataType.FP64, DataType.BF16)
_KINDS = {
    "b": "true/false",
    "i": "whole numbers",
    "u": "whole numbers",
    "f": "fractions",
    "c": "complex numbers",
}


_dtypes: dict[str, np.dtype[Any]] = {}


def dtype_of(datatype: str) -> np.dtype[Any]:
    """Give the NumPy dtype of a wire name; remembered, as every tensor of every request asks."""
    found = _dtypes.get(datatype)
    if found is None:
        found = _dtypes[datatype] = DataType.of(datatype).numpy()
    return found


def as_array(value: Any, datatype: DataType, cast: Cast) -> npt.NDArray[Any]:
    """Make the array of a tensor; the value's own memory is used where it fits.

    An array's dtype must cast to the datatype by the rule ``cast``. Lists and numbers have no dtype that
    their author chose: they are checked by value.

    :raises TypeError: its dtype, or what is in it, does not fit.
    :raises ValueError: rows of different lengths, or a number out of the datatype's range.
    """
    if datatype is DataType.BYTES:
        return _texts(value)
    target = dtype_of(datatype.value)
    if isinstance(value, (np.ndarray, np.generic)):
        array = np.asarray(value)
    elif hasattr(value, "__dlpack__"):
        array = _from_dlpack(value)
    elif hasattr(value, "__array__") or hasattr(value, "__array_interface__"):
        array = np.asarray(value)
    else:
        return _from_python(value, datatype, cast)
    if array.dtype == target:
        return array
    if array.dtype.kind in "SUO":
        raise TypeError(f"got {array.dtype} (texts or objects), the model wants {datatype}")
    if not np.can_cast(array.dtype, target, cast):
        loosest = next((rule for rule in CASTS if np.can_cast(array.dtype, target, rule)), "unsafe")
        raise TypeError(
            f'got {array.dtype}, the model wants {datatype} ({target}): cast="{loosest}" would convert it, '
            f'cast="{cast}" does not'
        )
    return array.astype(target, casting=cast)


def _from_dlpack(value: Any) -> npt.NDArray[Any]:
    try:
        return np.from_dlpack(value)
    except (BufferError, RuntimeError, TypeError) as error:
        # On a device: CuPy has get(), PyTorch cpu(). What else is wrong (a gradient, a dtype) stays wrong.
        move = getattr(value, "get", None) or getattr(value, "cpu", None)
        if move is None or _on_cpu(value):
            raise TypeError(f"this {type(value).__name__} cannot be read as an array: {error}") from error
        moved = move()
    return moved if isinstance(moved, np.ndarray) else np.from_dlpack(moved)


def _on_cpu(value: Any) -> bool:
    try:
        return int(value.__dlpack_device__()[0]) == 1
    except Exception:  # another library's code
        return False


def _from_python(value: Any, datatype: DataType, cast: Cast) -> npt.NDArray[Any]:
    try:
        array: npt.NDArray[Any] = np.array(value)
    except OverflowError:
        raise ValueError("a number is too large for any datatype") from None
    except ValueError:
        raise ValueError("rows of different lengths") from None
    target = datatype.numpy()
    if not array.size:
        return array.astype(target)
    if array.dtype.kind not in "biufc":
        raise TypeError(f"got {type(value).__name__} with {_what(array)}, the model wants {datatype}")
    kinds = {DataType.BOOL: "b"}.get(datatype, "iuf" if datatype in _FLOATS else "iu")
    if array.dtype.kind not in kinds and not np.can_cast(array.dtype, target, cast):
        raise TypeError(f"got {_KINDS[array.dtype.kind]}, the model wants {datatype}")
    if cast == "unsafe":
        return array.astype(target)
    with np.errstate(over="ignore"):
        found = array.astype(target)
    if _out_of_range(array, found, target):
        raise ValueError(f"{array.min()} to {array.max()} is out of {datatype}'s range")
    return found


def _out_of_range(array: npt.NDArray[Any], found: npt.NDArray[Any], target: np.dtype[Any]) -> bool:
    if target.kind in "iu" and array.dtype.kind in "iu":
        limits = np.iinfo(target)
        return int(array.min()) < limits.min or int(array.max()) > limits.max
    if array.dtype.kind == "f" and target.kind != "b":
        return bool(np.any(~np.isfinite(found) & np.isfinite(array)))
    return False


def _texts(value: Any) -> npt.NDArray[Any]:
    if isinstance(value, np.ndarray) and value.dtype.kind == "S":
        return value  # the wire's encoder takes it
    if isinstance(value, (str, bytes, bytearray, memoryview)):
        array = np.empty((), object)
        array[()] = value if isinstance(value, (str, bytes)) else bytes(value)
    else:
        try:
            array = np.array(value, object)
        except ValueError:
            raise ValueError("rows of different lengths") from None
    for item in array.ravel().tolist():
        if isinstance(item, str):
            _check_text(item)
        elif not isinstance(item, bytes):
            given = type(item).__name__
            raise TypeError(f"got an element of type {given}, the model wants str or bytes (BYTES)")
    return array


def _check_text(text: str) -> None:
    try:
        text.isascii() or text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"the text {text!r} cannot be UTF-8 ({error.reason}): give bytes") from None


def _what(array: npt.NDArray[Any]) -> str:
    if array.dtype.kind in "SU":
        return "texts"
    first = next((item for item in array.ravel().tolist() if not isinstance(item, (int, float))), None)
    return f"an element of type {type(first).__name__}"
