"""``InferenceTrace`` of ``triton_python_backend_utils``: the trace of a request, to hand on to a call."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from triton_backend_sdk import Trace
    from triton_backend_sdk.python_backend.owner import PythonModel


class InferenceTrace:
    """What ``request.trace()`` gives: an argument for the requests that a model makes."""

    __slots__ = ("__weakref__", "_trace")

    _trace: Trace | None

    def __init__(self, *refused: Any) -> None:
        raise TypeError("InferenceTrace: No constructor defined! Take it from request.trace()")

    def get_context(self) -> str | None:
        """Give what OpenTelemetry hands on to other services, as JSON; None where there is nothing."""
        context = None if self._trace is None else self._trace.context
        return None if context is None else json.dumps(context, separators=(",", ":"))


def of(trace: Trace | None) -> InferenceTrace:
    """Give the trace of a request of the SDK's, or that of a request without one."""
    made = InferenceTrace.__new__(InferenceTrace)
    made._trace = trace or None
    return made


def names(owner: PythonModel | None) -> dict[str, Any]:
    """Give what the utils module has of this file."""
    return {"InferenceTrace": InferenceTrace}
