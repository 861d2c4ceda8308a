"""One request through the core: from arrays to a TRITONSERVER_InferenceRequest, and from its response back.

1. ``submit`` builds the request over the test's own arrays, nothing is copied, and hands it to Triton.
2. On a thread of Triton's the backend asks for output buffers: ``_alloc`` gives NumPy's memory.
3. ``_response`` wraps that memory in arrays, deletes the response and resolves the future.
4. ``_request_released`` deletes the request. A backend may do that long after 3, or before: the arrays of the
   request stay alive until both have happened.

Every object that Triton hands over is counted in :class:`Live` until it is deleted.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from triton_backend_sdk.errors import InternalError, TritonError
from triton_backend_sdk.testing.core_response import CoreResponse, read_response
from triton_backend_sdk.testing.wire import WireInput, to_wire

if TYPE_CHECKING:
    import numpy.typing as npt

    from triton_backend_sdk.testing.core_api import CoreApi


@dataclass(frozen=True)
class Query:
    """What a test asks of a model; see :meth:`TritonCore.infer`."""

    model: str
    version: int
    inputs: Mapping[str, Any]
    outputs: Sequence[str] | None
    id: str
    parameters: Mapping[str, str | int | bool | float]


class Live:
    """Counts what Triton and the test hold of each other; all zero means that nothing leaked."""

    def __init__(self) -> None:
        self._counts = {"requests": 0, "responses": 0, "buffers": 0}
        self._changed = threading.Condition()

    def add(self, kind: str, number: int) -> None:
        """Count objects that came (or, negative, went)."""
        with self._changed:
            self._counts[kind] += number
            self._changed.notify_all()

    def counts(self) -> dict[str, int]:
        """Give the numbers of live requests, responses and output buffers."""
        with self._changed:
            return dict(self._counts)

    def wait_none(self, timeout: float) -> bool:
        """Wait until nothing is alive; False when that did not happen in time (seconds)."""
        with self._changed:
            return self._changed.wait_for(lambda: not any(self._counts.values()), timeout)


@dataclass(eq=False)
class _Pending:
    """What a request under way needs to stay alive: its handle in C, inputs, output buffers."""

    keep: list[Any] = field(default_factory=list)
    future: Future[CoreResponse] = field(default_factory=Future)
    #: Output buffers by address, from _alloc to _release.
    buffers: dict[int, npt.NDArray[np.uint8]] = field(default_factory=dict)
    results: list[CoreResponse | TritonError] = field(default_factory=list)
    handle: Any = None
    #: Of the request's release and its final response, what is still to come.
    awaited: int = 2


class Inferencer:
    """The request side of one server: its response allocator, callbacks and requests under way."""

    def __init__(self, api: CoreApi, server: Any) -> None:
        self._api = api
        self._server = server
        self.live = Live()
        self._lock = threading.Lock()
        self._pending: set[_Pending] = set()
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

    def submit(self, query: Query) -> Future[CoreResponse]:
        """Send a request; the future holds its response or TritonError.

        :raises TritonError: Triton refuses the request before any backend sees it.
        """
        api, pending = self._api, _Pending()
        target = (self._server, query.model.encode(), query.version)
        request = api.new("InferenceRequestNew", "TRITONSERVER_InferenceRequest", *target)
        self.live.add("requests", 1)
        pending.handle = api.ffi.new_handle(pending)
        pending.future.set_running_or_notify_cancel()
        self._pending.add(pending)
        try:
            self._fill(request, pending, query)
            api.call("ServerInferAsync", self._server, request, api.ffi.NULL)
        except BaseException:
            # Refused: the request is still ours, and no callback will come.
            self._pending.discard(pending)
            self._delete_request(request)
            raise
        return pending.future

    def _fill(self, request: Any, pending: _Pending, query: Query) -> None:
        call, handle = self._api.call, pending.handle
        for name, value in query.inputs.items():
            self._add_input(request, pending, name.encode(), to_wire(value))
        for output in query.outputs or ():
            call("InferenceRequestAddRequestedOutput", request, output.encode())
        call("InferenceRequestSetId", request, query.id.encode())
        self._api.set_parameters(request, query.parameters)
        call("InferenceRequestSetReleaseCallback", request, self._on_request, handle)
        responses = (self._allocator, handle, self._on_response, handle)
        call("InferenceRequestSetResponseCallback", request, *responses)

    def _add_input(self, request: Any, pending: _Pending, name: bytes, wire: WireInput) -> None:
        api = self._api
        shape = api.ffi.new("int64_t[]", wire.shape)
        api.call("InferenceRequestAddInput", request, name, wire.dtype.c_value, shape, len(wire.shape))
        for buffer in wire.buffers:
            pending.keep.append(buffer)
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
        pending: _Pending = ffi.from_handle(userp)
        pending.buffers[memory.ctypes.data] = memory
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
        pending: _Pending = self._api.ffi.from_handle(buffer_userp)
        del pending.buffers[int(self._api.ffi.cast("uintptr_t", buffer))]
        self.live.add("buffers", -1)
        return self._api.ffi.NULL

    def _response(self, response: Any, flags: int, userp: Any) -> None:
        pending: _Pending = self._api.ffi.from_handle(userp)
        if response != self._api.ffi.NULL:
            self.live.add("responses", 1)
            pending.results.append(read_response(self._api, response, pending.buffers))
            self._api.call("InferenceResponseDelete", response)
            self.live.add("responses", -1)
        if not flags & self._api.lib.TRITONSERVER_RESPONSE_COMPLETE_FINAL:
            return
        self._forget(pending)
        [result] = pending.results if len(pending.results) == 1 else [_not_one(len(pending.results))]
        if isinstance(result, TritonError):
            pending.future.set_exception(result)
        else:
            pending.future.set_result(result)

    def _request_released(self, request: Any, flags: int, userp: Any) -> None:
        self._delete_request(request)
        self._forget(self._api.ffi.from_handle(userp))

    def _delete_request(self, request: Any) -> None:
        self._api.call("InferenceRequestDelete", request)
        self.live.add("requests", -1)

    def _forget(self, pending: _Pending) -> None:
        """Let go of a request's arrays once Triton has given it back and answered it."""
        with self._lock:
            pending.awaited -= 1
            if not pending.awaited:
                self._pending.discard(pending)


def _not_one(number: int) -> TritonError:
    return InternalError(f"the request got {number} responses; infer() is for models that give one")
