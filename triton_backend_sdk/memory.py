"""Where memory lies: Triton's pools, moves between kinds of memory, what Triton says of its buffers."""

from __future__ import annotations

import ctypes
import importlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from triton_backend_sdk import gpu
from triton_backend_sdk.dtypes import DataType
from triton_backend_sdk.enums import MemoryType
from triton_backend_sdk.errors import InvalidArgError, NotFoundError, TritonError, UnavailableError

if TYPE_CHECKING:
    from triton_backend_sdk.model_instance import ModelInstance
    from triton_backend_sdk.request import Request
    from triton_backend_sdk.tensor import Tensor


class Placement(NamedTuple):
    """A kind of memory and, of a GPU's, the device."""

    memory_type: MemoryType
    memory_type_id: int = 0


@dataclass(frozen=True)
class BufferAttributes:
    """What Triton knows of a buffer. See TRITONSERVER_BufferAttributes."""

    nbytes: int
    memory_type: MemoryType
    memory_type_id: int
    #: The 64 bytes of a cudaIpcMemHandle_t, of CUDA memory that a client shared; else None.
    cuda_ipc_handle: bytes | None


class Pool:
    """Triton's memory manager. See TRITONBACKEND_BackendMemoryManager."""

    def __init__(self, hot: Any, manager: int) -> None:
        #: The C side; None in the fake host.
        self.hot = hot
        self._manager = manager

    def allocate(
        self, shape: Sequence[int], dtype: DataType, wanted: Sequence[Placement], name: str = "memory"
    ) -> Tensor:
        """Give memory of the first kind that is to be had; see :meth:`ModelInstance.allocate`."""
        nbytes = size_of(shape, dtype)
        refused = []
        for place in wanted:
            try:
                return self._one(shape, dtype, nbytes, place, name)
            except TritonError as error:
                refused.append(f"{place.memory_type.name}: {error}")
        raise UnavailableError(f"no memory for {nbytes} bytes: {'; '.join(refused)}")

    def like(self, tensor: Tensor, place: Placement) -> Tensor:
        """Give memory for a copy of a tensor."""
        return self._one(tensor.shape, tensor.dtype, tensor.nbytes, place, tensor.name)

    def _one(self, shape: Sequence[int], dtype: DataType, nbytes: int, place: Placement, name: str) -> Tensor:
        tensor: Tensor = self.hot.allocate(
            self._manager, name, dtype.c_value, tuple(shape), nbytes, place.memory_type, place.memory_type_id
        )
        return tensor


def size_of(shape: Sequence[int], dtype: DataType) -> int:
    """Give the bytes of a tensor.

    :raises InvalidArgError: the shape is none, or the elements have no fixed size.
    """
    if dtype is DataType.BYTES:
        raise InvalidArgError("BYTES elements have no fixed size: allocate UINT8")
    nbytes = math.prod(shape) * dtype.itemsize
    if any(dim < 0 for dim in shape) or len(shape) > 64 or nbytes >= 2**62:
        raise InvalidArgError(f"no memory can have the shape {list(shape)}")
    return nbytes


def copy(target: Tensor, source: Tensor) -> None:
    """Copy a tensor's bytes into another of the same size, wherever both lie; returns when it is done."""
    for tensor in (source, target):
        if tensor.memory_type is MemoryType.GPU:
            gpu.copy(target.data_ptr, source.data_ptr, source.nbytes, tensor.memory_type_id)
            return
    ctypes.memmove(target.data_ptr, source.data_ptr, source.nbytes)


def move(tensor: Tensor, instance: ModelInstance, memory_type: int, memory_type_id: int) -> Tensor:
    """Give a tensor that lies where it is wanted: the same, or a copy from Triton's pools."""
    place = Placement(MemoryType(memory_type), memory_type_id)
    if lies_in(tensor, place):
        return tensor
    moved = instance._pool.like(tensor, place)
    copy(moved, tensor)
    return moved  # type: ignore[no-any-return]


def to_cpu(tensor: Tensor) -> Tensor:
    """See :meth:`Tensor.cpu`."""
    if tensor.memory_type is not MemoryType.GPU:
        return tensor
    # The C type's own module: a tensor outlives the instance it came from.
    plain = Pool(importlib.import_module(type(tensor).__module__), 0).like(tensor, Placement(MemoryType.CPU))
    copy(plain, tensor)
    return plain


def lies_in(tensor: Tensor, place: Placement) -> bool:
    """Say whether a tensor lies in this kind of memory, of this device."""
    same_device = place.memory_type is not MemoryType.GPU or tensor.memory_type_id == place.memory_type_id
    return tensor.memory_type is place.memory_type and same_device


def output_placement(
    request: Request, name: str | None, nbytes: int | None, preferred: Placement
) -> Placement | None:
    """See :meth:`Request.output_placement`."""
    api = _api(request)
    if api is None:
        return None
    size = api.ffi.NULL if nbytes is None else api.ffi.new("size_t *", nbytes)
    memory_type = api.ffi.new("TRITONSERVER_MemoryType *", preferred.memory_type)
    memory_type_id = api.ffi.new("int64_t *", preferred.memory_type_id)
    text = api.ffi.NULL if name is None else name.encode()
    try:
        api.check(
            api.lib.TRITONBACKEND_RequestOutputBufferProperties(
                api.ffi.cast("TRITONBACKEND_Request *", request._handle),
                text,
                size,
                memory_type,
                memory_type_id,
            )
        )
    except UnavailableError:
        return None
    return Placement(MemoryType(memory_type[0]), int(memory_type_id[0]))


def input_attributes(request: Request, name: str) -> tuple[BufferAttributes, ...]:
    """See :meth:`Request.input_attributes`."""
    api = _api(request)
    if api is None:
        return tuple(
            BufferAttributes(part.nbytes, part.memory_type, part.memory_type_id, None)
            for part in request.input_buffers(name)
        )
    return tuple(_attributes(api, *found) for found in _buffers(api, request, name))


def _api(request: Request) -> Any:
    return None if request.instance is None else request.instance._api


def _buffers(api: Any, request: Request, name: str) -> Iterator[tuple[Any, int]]:
    ffi, lib = api.ffi, api.lib
    handle = ffi.cast("TRITONBACKEND_Request *", request._handle)
    found, text, count = ffi.new("TRITONBACKEND_Input **"), ffi.new("const char **"), ffi.new("uint32_t *")
    for index in range(len(request)):
        api.check(lib.TRITONBACKEND_RequestInputByIndex(handle, index, found))
        null = ffi.NULL
        api.check(lib.TRITONBACKEND_InputProperties(found[0], text, null, null, null, null, count))
        if ffi.string(text[0]).decode() == name:
            yield from ((found[0], buffer) for buffer in range(count[0]))
            return
    raise NotFoundError(f"the request has no input {name!r}; it has {tuple(request)!r}")


def _attributes(api: Any, handle: Any, index: int) -> BufferAttributes:
    ffi, lib = api.ffi, api.lib
    address, attributes = ffi.new("const void **"), ffi.new("TRITONSERVER_BufferAttributes **")
    api.check(lib.TRITONBACKEND_InputBufferAttributes(handle, index, address, attributes))
    ipc = api.get(lib.TRITONSERVER_BufferAttributesCudaIpcHandle, attributes[0], "void *")
    return BufferAttributes(
        nbytes=int(api.get(lib.TRITONSERVER_BufferAttributesByteSize, attributes[0], "size_t")),
        memory_type=MemoryType(
            api.get(lib.TRITONSERVER_BufferAttributesMemoryType, attributes[0], "TRITONSERVER_MemoryType")
        ),
        memory_type_id=int(api.get(lib.TRITONSERVER_BufferAttributesMemoryTypeId, attributes[0], "int64_t")),
        cuda_ipc_handle=None if ipc == ffi.NULL else bytes(ffi.buffer(ipc, 64)),
    )
