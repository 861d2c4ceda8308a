"""Requests without options through the core, at the least cost: what a program wants that lives on speed.

The way is that of :mod:`triton_backend_sdk.testing.core_infer`, without traces, streams and counts: a lock in
the place of a future, and seven calls of Triton from the request's making to its end.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from triton_backend_sdk.dtypes import DataType
from triton_backend_sdk.errors import InternalError, TritonError, describe
from triton_backend_sdk.testing.core_response import CoreResponse
from triton_backend_sdk.testing.wire import from_wire

if TYPE_CHECKING:
    import numpy.typing as npt

    from triton_backend_sdk.testing.core_api import CoreApi

#: Name, datatype, shape, and the bytes of an input as a flat array.
LeanInput = tuple[bytes, DataType, Sequence[int], "npt.NDArray[np.uint8]"]
_OUTS = ("const char*", "TRITONSERVER_DataType", "const int64_t*", "uint64_t", "const void*", "size_t",
         "TRITONSERVER_MemoryType", "int64_t", "void*")  # fmt: skip
_TYPES = {each.c_value: each for each in DataType}


class _Call:
    """A request under way."""

    __slots__ = ("buffers", "done", "keep", "request", "result", "waits")

    def __init__(self, request: Any) -> None:
        self.request = request
        #: Inputs, until the backend has released the request.
        self.keep: list[Any] = []
        #: Output buffers by address.
        self.buffers: dict[int, npt.NDArray[np.uint8]] = {}
        self.result: CoreResponse | TritonError | None = None
        self.done = threading.Lock()
        self.done.acquire()
        #: The final answer, and the request's release.
        self.waits = 2


class LeanCalls:
    """The lean way through one server."""

    def __init__(self, api: CoreApi, server: Any) -> None:
        self._api = api
        self._ffi = api.ffi
        self._lib = api.lib
        self._server = server
        #: As Triton hands numbers back, not addresses, a backend that answers too often does no harm.
        self._calls: dict[int, _Call] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._outs = threading.local()
        callback = api.ffi.callback
        self._on_alloc = callback("TRITONSERVER_ResponseAllocatorAllocFn_t", self._alloc)
        self._on_free = callback("TRITONSERVER_ResponseAllocatorReleaseFn_t", self._free)
        self._on_response = callback("TRITONSERVER_InferenceResponseCompleteFn_t", self._response)
        self._on_released = callback("TRITONSERVER_InferenceRequestReleaseFn_t", self._released)
        kind = "TRITONSERVER_ResponseAllocator"
        self._allocator = api.new("ResponseAllocatorNew", kind, self._on_alloc, self._on_free, api.ffi.NULL)

    def close(self) -> None:
        """Delete the allocator; the server is gone by then."""
        self._api.call("ResponseAllocatorDelete", self._allocator)

    def infer(
        self,
        model: bytes,
        version: int,
        inputs: Iterable[LeanInput],
        outputs: Iterable[bytes],
        timeout: float | None,
    ) -> CoreResponse:
        """Send a request and wait for its one response.

        :raises TritonError: of the class of the error's code, whether Triton refused or the plugin failed.
        :raises TimeoutError: no response came in time; the request is cancelled.
        """
        call = self._submit(model, version, inputs, outputs)
        try:
            if not call.done.acquire(timeout=-1 if timeout is None else timeout):
                raise TimeoutError(f"no response came within {timeout:g} s")
        except BaseException:
            self._cancel(call)
            raise
        result = call.result
        if isinstance(result, CoreResponse):
            return result
        raise result or InternalError(
            "the request got no response; stream() is for models that give any number"
        )

    def _submit(
        self, model: bytes, version: int, inputs: Iterable[LeanInput], outputs: Iterable[bytes]
    ) -> _Call:
        ffi, lib, check = self._ffi, self._lib, self._api.check
        made = ffi.new("TRITONSERVER_InferenceRequest**")
        error = lib.TRITONSERVER_InferenceRequestNew(made, self._server, model, version)
        if error:
            check(error)
        request = made[0]
        call = _Call(request)
        number = next(self._numbers)
        self._calls[number] = call
        handle = ffi.cast("void*", number)
        try:
            for name, datatype, shape, data in inputs:
                error = lib.TRITONSERVER_InferenceRequestAddInput(
                    request, name, datatype.c_value, shape, len(shape)
                )
                if error:
                    check(error)
                if data.nbytes:
                    call.keep.append(data)
                    base = ffi.cast("void*", data.__array_interface__["data"][0])
                    where = (lib.TRITONSERVER_MEMORY_CPU, 0)
                    check(
                        lib.TRITONSERVER_InferenceRequestAppendInputData(
                            request, name, base, data.nbytes, *where
                        )
                    )
            for output in outputs:
                check(lib.TRITONSERVER_InferenceRequestAddRequestedOutput(request, output))
            check(lib.TRITONSERVER_InferenceRequestSetReleaseCallback(request, self._on_released, handle))
            given = (self._allocator, handle, self._on_response, handle)
            check(lib.TRITONSERVER_InferenceRequestSetResponseCallback(request, *given))
            error = lib.TRITONSERVER_ServerInferAsync(self._server, request, ffi.NULL)
            if error:
                check(error)
        except BaseException:
            del self._calls[number]
            check(lib.TRITONSERVER_InferenceRequestDelete(request))
            raise
        return call

    def _cancel(self, call: _Call) -> None:
        with self._lock:
            if call.request is not None:
                self._api.call("InferenceRequestCancel", call.request)

    def _alloc(  # noqa: PLR0917  Triton's signature
        self,
        allocator: Any,
        tensor_name: Any,
        byte_size: int,
        memory_type: int,
        memory_type_id: int,
        userp: Any,
        buffer: Any,
        buffer_userp: Any,
        actual_memory_type: Any,
        actual_memory_type_id: Any,
    ) -> Any:
        ffi = self._ffi
        actual_memory_type[0] = 0  # TRITONSERVER_MEMORY_CPU
        actual_memory_type_id[0] = 0
        buffer_userp[0] = userp
        if not byte_size:
            buffer[0] = ffi.NULL
            return ffi.NULL
        try:
            memory = np.empty(byte_size, np.uint8)
            address = memory.__array_interface__["data"][0]
            self._calls[int(ffi.cast("uintptr_t", userp))].buffers[address] = memory
        except (KeyError, MemoryError) as error:  # KeyError: an answer after the last one
            return self._api.error(error)
        buffer[0] = ffi.cast("void*", address)
        return ffi.NULL

    def _free(  # noqa: PLR0917  Triton's signature
        self,
        allocator: Any,
        buffer: Any,
        buffer_userp: Any,
        byte_size: int,
        memory_type: int,
        memory_type_id: int,
    ) -> Any:
        return self._ffi.NULL  # the arrays own it

    def _response(self, response: Any, flags: int, userp: Any) -> None:
        number = int(self._ffi.cast("uintptr_t", userp))
        call = self._calls.get(number)
        if response:
            if call is not None:
                call.result = self._read(response, call) if call.result is None else _too_many()
            self._api.check(self._lib.TRITONSERVER_InferenceResponseDelete(response))
        if call is not None and flags & 1:  # TRITONSERVER_RESPONSE_COMPLETE_FINAL
            self._came(number, call)
            call.done.release()

    def _released(self, request: Any, flags: int, userp: Any) -> None:
        number = int(self._ffi.cast("uintptr_t", userp))
        call = self._calls.get(number)
        if call is not None:
            self._came(number, call)

    def _came(self, number: int, call: _Call) -> None:
        with self._lock:
            call.waits -= 1
            if call.waits:
                return
            request, call.request = call.request, None
            self._calls.pop(number, None)
        call.keep.clear()
        self._api.check(self._lib.TRITONSERVER_InferenceRequestDelete(request))

    def _read(self, response: Any, call: _Call) -> CoreResponse | TritonError:
        lib = self._lib
        error = lib.TRITONSERVER_InferenceResponseError(response)
        if error:  # the response's own: not deleted here
            return self._api.exception(error)
        try:
            return self._success(response, call)
        except Exception as unreadable:  # whoever waits must hear of it
            return InternalError(f"the response is unreadable: {describe(unreadable)[1]}")

    def _success(self, response: Any, call: _Call) -> CoreResponse:
        ffi, lib, check = self._ffi, self._lib, self._api.check
        outs = getattr(self._outs, "made", None)
        if outs is None:
            model = self._api.outs("const char*", "int64_t", "uint32_t")
            outs = self._outs.made = (*model, self._api.outs(*_OUTS))
        name, version, count, places = outs
        check(lib.TRITONSERVER_InferenceResponseModel(response, name, version))
        model_name, model_version = ffi.string(name[0]).decode(), int(version[0])
        parameters: dict[str, Any] = {}
        check(lib.TRITONSERVER_InferenceResponseParameterCount(response, count))
        for index in range(count[0]):
            key, value = self._parameter(response, index)
            parameters[key] = value
        check(lib.TRITONSERVER_InferenceResponseOutputCount(response, count))
        outputs = {}
        for index in range(count[0]):
            check(lib.TRITONSERVER_InferenceResponseOutput(response, index, *places))
            text = ffi.string(places[0][0]).decode()
            shape = ffi.unpack(places[2][0], places[3][0]) if places[3][0] else []
            memory = call.buffers.get(int(ffi.cast("uintptr_t", places[4][0])), _NOTHING)
            outputs[text] = from_wire(_TYPES[places[1][0]], shape, memory[: places[5][0]], text)
        return CoreResponse(outputs, parameters, "", model_name, model_version, True)

    def _parameter(self, response: Any, index: int) -> tuple[str, Any]:
        api = self._api
        outs = api.outs("const char*", "TRITONSERVER_ParameterType", "const void*")
        api.call("InferenceResponseParameter", response, index, *outs)
        name, kind, value = (out[0] for out in outs)
        return api.text(name), api.parameter(int(kind), value)


_NOTHING = np.empty(0, np.uint8)


def _too_many() -> TritonError:
    return InternalError(
        "the request got more than one response; stream() is for models that give any number"
    )
