"""``PreferredMemory`` of ``triton_python_backend_utils``: where the outputs of a call shall lie."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any

from triton_backend_sdk import MemoryType as SDKMemoryType

if TYPE_CHECKING:
    from triton_backend_sdk.python_backend.owner import PythonModel


class MemoryType(enum.IntEnum):
    """Kinds of memory, with the stock backend's names and numbers."""

    TRITONSERVER_MEMORY_GPU = 0
    TRITONSERVER_MEMORY_CPU = 1

    def __str__(self) -> str:
        return f"MemoryType.{self.name}"

    def __repr__(self) -> str:
        return f"<MemoryType.{self.name}: {self.value}>"


class PreferredMemory:
    """A kind of memory and a device; where none is given, outputs lie where the called model made them."""

    __slots__ = ("__weakref__", "_place")

    def __init__(self, preferred_memory_type: MemoryType, preferred_device_id: int = 0) -> None:
        if not isinstance(preferred_memory_type, MemoryType):
            raise TypeError(
                "PreferredMemory(): preferred_memory_type must be TRITONSERVER_MEMORY_GPU or "
                f"TRITONSERVER_MEMORY_CPU, not {preferred_memory_type!r}"
            )
        if not isinstance(preferred_device_id, int):
            raise TypeError(
                f"PreferredMemory(): preferred_device_id must be an int, not {preferred_device_id!r}"
            )
        gpu = preferred_memory_type is MemoryType.TRITONSERVER_MEMORY_GPU
        self._place = (SDKMemoryType.GPU, preferred_device_id) if gpu else (SDKMemoryType.CPU, 0)


def place(memory: PreferredMemory | None) -> tuple[SDKMemoryType, int] | None:
    """Give the SDK's ``memory`` option for what a request says."""
    return None if memory is None else memory._place


def names(owner: PythonModel | None) -> dict[str, Any]:
    """Give what the utils module has of this file."""
    constants = {member.name: member for member in MemoryType}
    return {"MemoryType": MemoryType, "PreferredMemory": PreferredMemory, **constants}
