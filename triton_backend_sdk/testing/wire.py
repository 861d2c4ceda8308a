"""Arrays to the bytes that Triton moves, and back."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from triton_backend_sdk.dtypes import DataType
from triton_backend_sdk.errors import InvalidArgError

if TYPE_CHECKING:
    import numpy.typing as npt

_LENGTH = struct.Struct("<I")


@dataclass(frozen=True)
class Raw:
    """An input as bytes, sent as they are: for requests that no array can express, malformed ones above all.

    Several items of ``data`` become several buffers of the input, split where you say.
    """

    data: bytes | Sequence[bytes]
    dtype: DataType | str
    shape: Sequence[int]


@dataclass(frozen=True)
class WireInput:
    """An input as Triton takes it; ``buffers`` are flat uint8 arrays, none of them empty."""

    dtype: DataType
    shape: tuple[int, ...]
    buffers: list[npt.NDArray[np.uint8]]


def to_wire(value: Any) -> WireInput:
    """Turn an input of a test into Triton's form.

    A list of arrays means one buffer per array, joined along the first dimension.
    """
    if isinstance(value, Raw):
        return _raw(value)
    if isinstance(value, (list, tuple)) and value and all(isinstance(part, np.ndarray) for part in value):
        parts = [to_wire(part) for part in value]
        shape = (sum(part.shape[0] for part in parts), *parts[0].shape[1:])
        return WireInput(parts[0].dtype, shape, [buffer for part in parts for buffer in part.buffers])
    array = np.asarray(value)
    dtype = DataType.of(array.dtype)
    flat = np.frombuffer(encode_bytes(array), np.uint8) if dtype is DataType.BYTES else _flat(array)
    return WireInput(dtype, array.shape, [flat] if flat.size else [])


def from_wire(
    dtype: DataType, shape: Sequence[int], data: npt.NDArray[np.uint8], name: str = ""
) -> npt.NDArray[Any]:
    """View an output's buffer as an array; BYTES become a new object array of ``bytes``.

    :param data: flat bytes of exactly the tensor.
    """
    if dtype is DataType.BYTES:
        return decode_bytes(data.tobytes(), shape, name)
    return data.view(dtype.numpy()).reshape(tuple(shape))


def encode_bytes(array: npt.NDArray[Any]) -> bytes:
    """Serialize strings as Triton wants them: a 4-byte little-endian length before each."""
    items = [item.encode() if isinstance(item, str) else bytes(item) for item in array.ravel().tolist()]
    return b"".join(part for item in items for part in (_LENGTH.pack(len(item)), item))


def decode_bytes(data: bytes, shape: Sequence[int], name: str = "") -> npt.NDArray[np.object_]:
    """Parse serialized strings.

    :raises InvalidArgError: the data does not hold exactly as many elements as the shape says.
    """
    items: list[bytes] = []
    position, wrong = 0, ""
    while position < len(data) and not wrong:
        start = position + _LENGTH.size
        length = _LENGTH.unpack_from(data, position)[0] if start <= len(data) else 0
        position = start + length
        if start > len(data):
            wrong = "it ends within a length"
        elif position > len(data):
            wrong = "an element is longer than what is left"
        items.append(data[start:position])
    if not wrong and len(items) != int(np.prod(shape, dtype=np.int64)):
        wrong = "the number of elements is not that of the shape"
    if wrong:
        raise InvalidArgError(f"BYTES tensor '{name}' is malformed: {wrong}")
    array = np.empty(len(items), object)
    array[:] = items
    return array.reshape(tuple(shape))


def _flat(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    # An empty array has no bytes to view, and NumPy refuses to view some of them.
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8) if array.size else np.empty(0, np.uint8)


def _raw(value: Raw) -> WireInput:
    parts = [value.data] if isinstance(value.data, (bytes, bytearray, memoryview)) else value.data
    buffers = [np.frombuffer(part, np.uint8) for part in parts if len(part)]
    return WireInput(DataType.of(value.dtype), tuple(value.shape), buffers)
