"""One request through the core: from arrays to a TRITONSERVER_InferenceRequest, and from its responses back.

1. ``submit`` builds the request over the test's own arrays, nothing is copied, and hands it to Triton.
2. On a thread of Triton's the backend asks for output buffers: ``_alloc`` gives NumPy's memory.
3. ``_response`` wraps that memory in arrays, deletes the response and passes the result on.
4. ``_request_released`` hears that the backend is done with the request. It may be so long after the final
   response, or before: the request and its arrays stay alive until both have happened.

Every object that Triton hands over is counted in :class:`Live` until it is deleted.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from triton_backend_sdk.testing.core_call import Call, Exchange, RequestOptions, Stream
from triton_backend_sdk.testing.core_live import Live
from triton_backend_sdk.testing.core_response import read_response
from triton_backend_sdk.testing.core_trace import Tracer
from triton_backend_sdk.testing.wire import WireInput, to_wire

if TYPE_CHECKING:
    import numpy.typing as npt

    from triton_backend_sdk.testing.core_api import CoreApi


class Inferencer:
    """The request side of one server: its response allocator, callbacks and requests under way."""

    def __init__(self, api: CoreApi, server: Any) -> None:
        self._api = api
        self._server = server
        self.live = Live()
        #: Answers that came after a request's final one.
        self.late = 0
        self._tracer = Tracer(api, self.live)
        self._lock = threading.Lock()
        #: Triton hands back a request's number, not an address: a backend that answers too often finds
        #: nothing there, or what a test still looks at, and the process lives.
        self._numbers = itertools.count(1)
        self._exchanges: weakref.WeakValueDictionary[int, Exchange] = weakref.WeakValueDictionary()
        self._open: dict[int, Exchange] = {}
        #: Output buffers by address, from _alloc to _release.
        self._buffers: dict[int, npt.NDArray[np.uint8]] = {}
        callback = api.ffi.callback
        self._on_alloc = callback("TRITONSERVER_ResponseAllocatorAllocFn_t", self._alloc)
        self._on_release = callback("TRITONSERVER_ResponseAllocatorReleaseFn_t", self._release)
        self._on_response = callback("TRITONSERVER_InferenceResponseCompleteFn_t", self._response)
        self._on_request = callback("TRITONSERVER_InferenceRequestReleaseFn_t", self._request_released)
        self._allocator = api.new(
            "ResponseAllocatorNew",
            "TRITONSERVER_ResponseAllocator",
            self._on_alloc,
            self._on_release,
            api.ffi.NULL,
        )

    def close(self) -> None:
        """Delete the allocator; the server is gone by then."""
        self._api.call("ResponseAllocatorDelete", self._allocator)

    def submit(
        self, sink: Call | Stream, model: str, inputs: Mapping[str, Any], options: RequestOptions
    ) -> None:
        """Send a request; its responses go to the sink.

        :raises TritonError: Triton refuses the request before any backend sees it.
        """
        api = self._api
        target = (self._server, model.encode(), options.get("version", -1))
        request = api.new("InferenceRequestNew", "TRITONSERVER_InferenceRequest", *target)
        exchange = Exchange(api, self.live, request, sink)
        number = next(self._numbers)
        with self._lock:
            self._exchanges[number] = self._open[number] = exchange
        trace = api.ffi.NULL
        try:
            self._fill(request, number, options)
            for name, value in inputs.items():
                self._add_input(request, exchange, name.encode(), to_wire(value))
            trace = self._tracer.new(options.get("trace"))
            sink.exchange = exchange
            api.call("ServerInferAsync", self._server, request, trace)
        except BaseException:
            del self._open[number]
            self._tracer.refused(trace)
            exchange.refused()
            raise

    def _fill(self, request: Any, number: int, options: RequestOptions) -> None:
        api, lib = self._api, self._api.lib

        def put(name: str, *values: Any) -> None:
            api.call("InferenceRequest" + name, request, *values)

        for output in options.get("outputs") or ():
            put("AddRequestedOutput", output.encode())
        put("SetId", options.get("request_id", "").encode())
        api.set_parameters(request, options.get("parameters") or {})
        correlation = options.get("correlation_id", 0)
        if isinstance(correlation, str):
            put("SetCorrelationIdString", correlation.encode())
        else:
            put("SetCorrelationId", correlation)
        start = lib.TRITONSERVER_REQUEST_FLAG_SEQUENCE_START if options.get("sequence_start") else 0
        end = lib.TRITONSERVER_REQUEST_FLAG_SEQUENCE_END if options.get("sequence_end") else 0
        put("SetFlags", start | end)
        put("SetTimeoutMicroseconds", options.get("timeout_us", 0))
        put("SetPriorityUInt64", options.get("priority", 0))
        handle = api.ffi.cast("void*", number)
        put("SetReleaseCallback", self._on_request, handle)
        put("SetResponseCallback", self._allocator, handle, self._on_response, handle)

    def _add_input(self, request: Any, exchange: Exchange, name: bytes, wire: WireInput) -> None:
        api = self._api
        shape = api.ffi.new("int64_t[]", wire.shape)
        api.call("InferenceRequestAddInput", request, name, wire.dtype.c_value, shape, len(wire.shape))
        for buffer in wire.buffers:
            exchange.keep.append(buffer)
            base = api.ffi.cast("void*", buffer.ctypes.data)
            where = (api.lib.TRITONSERVER_MEMORY_CPU, 0)
            api.call("InferenceRequestAppendInputData", request, name, base, buffer.nbytes, *where)

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
        ffi = self._api.ffi
        actual_memory_type[0] = self._api.lib.TRITONSERVER_MEMORY_CPU
        actual_memory_type_id[0] = 0
        buffer_userp[0] = userp
        buffer[0] = ffi.NULL
        if not byte_size:  # Triton never releases a NULL buffer
            return ffi.NULL
        try:
            memory = np.empty(byte_size, np.uint8)
        except MemoryError as error:
            return self._api.error(error)
        self._buffers[memory.ctypes.data] = memory
        self.live.add("buffers", 1)
        buffer[0] = ffi.cast("void*", memory.ctypes.data)
        return ffi.NULL

    def _release(  # noqa: PLR0917  Triton's signature
        self,
        allocator: Any,
        buffer: Any,
        buffer_userp: Any,
        byte_size: int,
        memory_type: int,
        memory_type_id: int,
    ) -> Any:
        del self._buffers[int(self._api.ffi.cast("uintptr_t", buffer))]
        self.live.add("buffers", -1)
        return self._api.ffi.NULL

    def _response(self, response: Any, flags: int, userp: Any) -> None:
        final = bool(flags & self._api.lib.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
        result = None
        if response != self._api.ffi.NULL:
            self.live.add("responses", 1)
            result = read_response(self._api, response, self._buffers, final)
            self._api.call("InferenceResponseDelete", response)
            self.live.add("responses", -1)
        exchange = self._exchange(userp)
        if exchange is None or exchange.finals:
            self.late += 1
        if exchange is None:
            return
        exchange.finals += final
        exchange.sink.take(result, final)
        if final:
            self._came(userp, exchange, "answers")

    def _request_released(self, request: Any, flags: int, userp: Any) -> None:
        exchange = self._exchange(userp)
        if exchange is not None:
            self._came(userp, exchange, "requests")

    def _exchange(self, userp: Any) -> Exchange | None:
        return self._exchanges.get(int(self._api.ffi.cast("uintptr_t", userp)))

    def _came(self, userp: Any, exchange: Exchange, kind: str) -> None:
        if exchange.came(kind):
            del self._open[int(self._api.ffi.cast("uintptr_t", userp))]
