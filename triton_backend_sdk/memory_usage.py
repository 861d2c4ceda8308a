"""What a model says it holds, for Triton's statistics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from triton_backend_sdk.enums import MemoryType
from triton_backend_sdk.errors import InternalError

#: Bytes by memory type, or by memory type and device.
MemoryUsage: TypeAlias = Mapping["MemoryType | tuple[MemoryType, int]", int]


def report_memory_usage(owner: Any, function: str, usage: MemoryUsage) -> None:
    """Hand a usage to Triton's function for a Model or ModelInstance; without a server it is only checked."""
    places = [_place(key, size) for key, size in usage.items()]
    api, handle = owner._api, owner._handle
    if api is None:
        return
    if handle is None:
        raise InternalError(f"{owner.name} reports memory usage after it was unloaded")
    made: list[Any] = []
    try:
        for memory_type, device, size in places:
            out = api.ffi.new("TRITONSERVER_BufferAttributes **")
            api.check(api.lib.TRITONSERVER_BufferAttributesNew(out))
            made.append(out[0])
            api.check(api.lib.TRITONSERVER_BufferAttributesSetMemoryType(out[0], memory_type))
            api.check(api.lib.TRITONSERVER_BufferAttributesSetMemoryTypeId(out[0], device))
            api.check(api.lib.TRITONSERVER_BufferAttributesSetByteSize(out[0], size))
        attributes = api.ffi.new("TRITONSERVER_BufferAttributes *[]", made)
        api.check(getattr(api.lib, function)(handle, attributes, len(made)))  # it copies them
    finally:
        for one in made:
            api.check(api.lib.TRITONSERVER_BufferAttributesDelete(one))


def _place(key: Any, size: Any) -> tuple[int, int, int]:
    memory_type, device = key if isinstance(key, tuple) and len(key) == 2 else (key, 0)
    if not isinstance(memory_type, MemoryType) or not isinstance(device, int):
        raise InternalError(f"memory usage is by MemoryType or (MemoryType, device), not by {key!r}")
    if not isinstance(size, int) or not 0 <= size < 2**63:
        raise InternalError(f"memory usage of {key!r} is a number of bytes, not {size!r}")
    return int(memory_type), device, size
