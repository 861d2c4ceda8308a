"""How many bytes tensors of a config have, and files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

_SIZES = {
    "TYPE_BOOL": 1, "TYPE_UINT8": 1, "TYPE_UINT16": 2, "TYPE_UINT32": 4, "TYPE_UINT64": 8, "TYPE_INT8": 1,
    "TYPE_INT16": 2, "TYPE_INT32": 4, "TYPE_INT64": 8, "TYPE_FP16": 2, "TYPE_FP32": 4, "TYPE_FP64": 8,
    "TYPE_BF16": 2,
}  # fmt: skip


def enum_name(message: Any, field: str) -> str:
    """Give the name of an enumeration's value; its number where it has none, as a config may say 99."""
    number = getattr(message, field)
    values = enum_of(message, field).values_by_number
    return str(values[number].name if number in values else number)


def enum_of(message: Any, field: str) -> Any:
    """Give the enumeration of a field."""
    return message.DESCRIPTOR.fields_by_name[field].enum_type


def one_of(enum: Any) -> str:
    """Name the values of an enumeration."""
    return f"one of {', '.join(name for name in enum.values_by_name if not name.endswith('_INVALID'))}"


def type_name(tensor: Any) -> str:
    """Give the name of a tensor's data_type."""
    return enum_name(tensor, "data_type")


def fixed(dims: Sequence[int]) -> list[int]:
    """Give dims of data for a tensor: 1 where any would do."""
    return [max(dim, 1) for dim in dims]


def byte_size(tensor: Any) -> int | None:
    """Give the bytes of a tensor with data_type and dims; None for texts, and where a dim may be any."""
    size: int | None = _SIZES.get(type_name(tensor))
    if size is None or any(dim < 0 for dim in tensor.dims):
        return None
    return int(size * math.prod(tensor.dims))


def why_not(path: Any) -> tuple[str, str | None]:
    """Say why a file cannot be read, and what Triton says: nothing of a folder, which it does not survive."""
    if path.is_dir():
        return f"{path} is a folder: the server ends with a signal", None
    said = f"failed to open text file for read {path}: No such file or directory"
    return said, said


def file_size(path: Any) -> int | None:
    """Give the bytes of a file; None where it is not there."""
    try:
        return int(path.stat().st_size) if path.is_file() else None
    except OSError:
        return None
