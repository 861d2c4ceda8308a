"""A TRITONSERVER_InferenceResponse read into arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from triton_backend_sdk.dtypes import DataType
from triton_backend_sdk.errors import InternalError, TritonError, describe
from triton_backend_sdk.testing.wire import from_wire

if TYPE_CHECKING:
    import numpy.typing as npt

    from triton_backend_sdk.testing.core_api import CoreApi

    #: Output buffers by address.
    Buffers = Mapping[int, npt.NDArray[np.uint8]]

#: What TRITONSERVER_InferenceResponseOutput hands out, in its order.
_OUTPUT = (
    "const char*",
    "TRITONSERVER_DataType",
    "const int64_t*",
    "uint64_t",
    "const void*",
    "size_t",
    "TRITONSERVER_MemoryType",
    "int64_t",
    "void*",
)


@dataclass(frozen=True)
class CoreResponse(Mapping[str, "npt.NDArray[Any]"]):
    """A mapping from output name to array; the arrays are the very buffers that the backend wrote."""

    outputs: dict[str, npt.NDArray[Any]]
    parameters: dict[str, str | int | bool | float | bytes]
    id: str
    model: str
    version: int
    #: Whether it said that it is the last.
    final: bool

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return self.outputs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.outputs)

    def __len__(self) -> int:
        return len(self.outputs)


def read_response(api: CoreApi, response: Any, buffers: Buffers, final: bool) -> CoreResponse | TritonError:
    """Read a response, which stays its owner's; its error becomes the exception."""
    error = api.lib.TRITONSERVER_InferenceResponseError(response)
    if error != api.ffi.NULL:  # the response's own: not deleted here
        return api.exception(error)
    try:
        return _read_success(api, response, buffers, final)
    except Exception as unreadable:  # the future must be resolved whatever the backend sent
        return InternalError(f"the response is unreadable: {describe(unreadable)[1]}")


def _read_success(api: CoreApi, response: Any, buffers: Buffers, final: bool) -> CoreResponse:
    name, version = api.outs("const char*", "int64_t")
    api.call("InferenceResponseModel", response, name, version)
    count = api.get("InferenceResponseOutputCount", "uint32_t", response)
    return CoreResponse(
        outputs=dict(_output(api, response, index, buffers) for index in range(count)),
        parameters=_parameters(api, response),
        id=api.text(api.get("InferenceResponseId", "const char*", response)),
        model=api.text(name[0]),
        version=int(version[0]),
        final=final,
    )


def _output(api: CoreApi, response: Any, index: int, buffers: Buffers) -> tuple[str, npt.NDArray[Any]]:
    outs = api.outs(*_OUTPUT)
    api.call("InferenceResponseOutput", response, index, *outs)
    name, dtype, shape, rank, base, size = (out[0] for out in outs[:6])
    memory = buffers.get(int(api.ffi.cast("uintptr_t", base)), np.empty(0, np.uint8))
    dims = api.ffi.unpack(shape, rank) if rank else []
    text = api.text(name)
    return text, from_wire(DataType.of(int(dtype)), dims, memory[:size], text)


def _parameters(api: CoreApi, response: Any) -> dict[str, str | int | bool | float | bytes]:
    found = {}
    for index in range(api.get("InferenceResponseParameterCount", "uint32_t", response)):
        outs = api.outs("const char*", "TRITONSERVER_ParameterType", "const void*")
        api.call("InferenceResponseParameter", response, index, *outs)
        name, kind, value = (out[0] for out in outs)
        found[api.text(name)] = api.parameter(int(kind), value)
    return found
