"""TRITONSERVER_InferenceTrace: what Triton, and the backend, report of a request and of those it makes."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from triton_backend_sdk.testing.core_api import CoreApi
    from triton_backend_sdk.testing.core_live import Live


@dataclass(frozen=True)
class TraceEvent:
    """One activity of a trace."""

    #: Triton's word for it, such as COMPUTE_START; of a custom activity its own name.
    name: str
    #: Nanoseconds of the steady clock.
    ns: int
    trace_id: int
    #: The trace that spawned this one; 0: none.
    parent_id: int
    model: str
    request_id: str


@dataclass(frozen=True)
class TraceTensor:
    """A tensor that a trace with ``tensors=True`` saw."""

    #: Such as TENSOR_BACKEND_INPUT.
    activity: str
    name: str
    #: As the core sends it; without Triton's datatype and shape.
    data: npt.NDArray[np.uint8]
    trace_id: int


class CoreTrace:
    """Records the activities of the requests that it is given to, and of their child traces.

    ``core.infer(model, inputs, trace=trace)``; then read :attr:`events`.

    :param tensors: record :attr:`tensors` too.
    :param parent_id: the trace that this one says it belongs to.
    :param context: what the request's trace context says: a dict, or text as it is.
    """

    def __init__(
        self, *, tensors: bool = False, parent_id: int = 0, context: Mapping[str, Any] | str | None = None
    ) -> None:
        self.events: list[TraceEvent] = []
        self.tensors: list[TraceTensor] = []
        self._with_tensors = tensors
        self._parent_id = parent_id
        self._context = json.dumps(dict(context)) if isinstance(context, Mapping) else context

    def names(self, trace_id: int | None = None) -> list[str]:
        """Give the activities' names in the order of their report, of one trace only if said."""
        return [event.name for event in self.events if trace_id in (None, event.trace_id)]

    def children(self, trace_id: int) -> list[int]:
        """Give the ids of the traces that a trace spawned, in the order of their first activity."""
        return list(dict.fromkeys(event.trace_id for event in self.events if event.parent_id == trace_id))


class Tracer:
    """Makes the traces of one core and hands what they report to their CoreTrace."""

    def __init__(self, api: CoreApi, live: Live) -> None:
        self._api = api
        self._live = live
        self._lock = threading.Lock()
        #: By address, from its making, or a child's first activity, to its release.
        self._traces: dict[int, CoreTrace] = {}
        #: By the number that Triton hands back; never forgotten, as a child may be spawned at any time.
        self._recorders: list[CoreTrace] = []
        callback = api.ffi.callback
        self._on_activity = callback("TRITONSERVER_InferenceTraceActivityFn_t", self._activity)
        self._on_tensor = callback("TRITONSERVER_InferenceTraceTensorActivityFn_t", self._tensor)
        self._on_release = callback("TRITONSERVER_InferenceTraceReleaseFn_t", self._release)

    def new(self, recorder: CoreTrace | None) -> Any:
        """Make a trace for one request; NULL without a recorder."""
        api, lib = self._api, self._api.lib
        if recorder is None:
            return api.ffi.NULL
        with self._lock:
            if recorder not in self._recorders:
                self._recorders.append(recorder)
            number = api.ffi.cast("void*", self._recorders.index(recorder))
        kind, level, callbacks = "New", lib.TRITONSERVER_TRACE_LEVEL_TIMESTAMPS, [self._on_activity]
        if recorder._with_tensors:
            kind, level = "TensorNew", level | lib.TRITONSERVER_TRACE_LEVEL_TENSORS
            callbacks.append(self._on_tensor)
        arguments = (level, recorder._parent_id, *callbacks, self._on_release, number)
        trace = api.new(f"InferenceTrace{kind}", "TRITONSERVER_InferenceTrace", *arguments)
        if recorder._context is not None:
            api.call("InferenceTraceSetContext", trace, recorder._context.encode())
        self._recorder(trace, number)
        return trace

    def refused(self, trace: Any) -> None:
        """Delete the trace of a request that Triton refused, if Triton left that to its caller."""
        if trace != self._api.ffi.NULL and self._address(trace) in self._traces:
            self._release(trace, self._api.ffi.NULL)

    def _address(self, trace: Any) -> int:
        return int(self._api.ffi.cast("uintptr_t", trace))

    def _recorder(self, trace: Any, userp: Any) -> CoreTrace:
        address = self._address(trace)
        with self._lock:
            if address not in self._traces:
                self._traces[address] = self._recorders[int(self._api.ffi.cast("uintptr_t", userp))]
                self._live.add("traces", 1)
            return self._traces[address]

    def _activity(self, trace: Any, activity: int, ns: int, userp: Any) -> None:
        api, lib = self._api, self._api.lib
        recorder = self._recorder(trace, userp)
        name = api.text(lib.TRITONSERVER_InferenceTraceActivityString(activity))
        if activity == lib.TRITONSERVER_TRACE_CUSTOM_ACTIVITY:
            # The name travels in the context, under the time.
            context = json.loads(api.text(api.get("InferenceTraceContext", "const char*", trace)) or "{}")
            name = context.get(str(ns), name)
        event = TraceEvent(
            name=name,
            ns=ns,
            trace_id=api.get("InferenceTraceId", "uint64_t", trace),
            parent_id=api.get("InferenceTraceParentId", "uint64_t", trace),
            model=api.text(api.get("InferenceTraceModelName", "const char*", trace)),
            request_id=api.text(api.get("InferenceTraceRequestId", "const char*", trace)),
        )
        recorder.events.append(event)

    def _tensor(  # noqa: PLR0917  Triton's signature
        self,
        trace: Any,
        activity: int,
        name: Any,
        dtype: int,
        base: Any,
        size: int,
        shape: Any,
        rank: int,
        memory_type: int,
        memory_type_id: int,
        userp: Any,
    ) -> None:
        api = self._api
        what = api.text(api.lib.TRITONSERVER_InferenceTraceActivityString(activity))
        data = np.frombuffer(api.ffi.buffer(base, size)[:] if size else b"", np.uint8)
        number = api.get("InferenceTraceId", "uint64_t", trace)
        self._recorder(trace, userp).tensors.append(TraceTensor(what, api.text(name), data, number))

    def _release(self, trace: Any, userp: Any) -> None:
        with self._lock:
            known = self._traces.pop(self._address(trace), None)
        self._api.call("InferenceTraceDelete", trace)
        if known is not None:
            self._live.add("traces", -1)
