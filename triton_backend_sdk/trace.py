"""Spans from Python in Triton's trace of a request."""

from __future__ import annotations

import functools
import json
import re
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any

from triton_backend_sdk.errors import InternalError

#: Triton writes a name into JSON as it is.
_UNFIT = re.compile(r'["\\\x00-\x1f\x7f]')
_RESERVED = ("_START", "_END")


class Trace:
    """A request's trace: ``request.trace``. See TRITONBACKEND_RequestTrace.

    ``if request.trace:`` says whether Triton traces the request. Where it does not, everything here does
    nothing, and costs next to nothing.
    """

    __slots__ = ()

    def __bool__(self) -> bool:
        return False

    @property
    def id(self) -> int:
        """Triton's number of the trace; 0 where there is none."""
        return 0

    @property
    def parent_id(self) -> int:
        """Number of the trace that this is a child of, as in an ensemble; 0 where there is none."""
        return 0

    @property
    def context(self) -> dict[str, Any] | None:
        """What to hand on to other services; None where there is nothing.

        With ``--trace-config mode=opentelemetry`` it is ``{"traceparent": "00-...", "tracestate": "..."}``.
        See TRITONSERVER_InferenceTraceContext.
        """
        return None

    def span(self, name: str) -> AbstractContextManager[None]:
        """Report a stretch of time: ``with request.trace.span("tokenize"):``.

        The trace gets the activities ``tokenize_START`` and ``tokenize_END``, which OpenTelemetry shows as a
        span ``tokenize``. There spans must nest: end the inner one first; two of one request may not overlap.

        :raises InternalError: the name is empty, or holds quotes, backslashes or control characters; or the
            request was given back.
        """
        check_name(name)
        return _NO_SPAN

    def report(self, name: str) -> None:
        """Report a moment. See TRITONSERVER_InferenceTraceReportActivity.

        :raises InternalError: as for :meth:`span`; also for a name that ends in ``_START`` or ``_END``, which
            would open or close a span of OpenTelemetry's.
        """
        check_name(name, moment=True)


class RequestTrace(Trace):
    """The trace of a request that Triton traces; it keeps the request, as a view of an input does."""

    __slots__ = ("_request",)

    def __init__(self, request: Any) -> None:
        self._request = request

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"<Trace {self.id} of {self._request!r}>"

    @property
    def id(self) -> int:
        """See :attr:`Trace.id`."""
        return int(self._request._trace_info()[0])

    @property
    def parent_id(self) -> int:
        """See :attr:`Trace.parent_id`."""
        return int(self._request._trace_info()[1])

    @property
    def context(self) -> dict[str, Any] | None:
        """See :attr:`Trace.context`."""
        text = self._request._trace_info()[2]
        # Triton keeps the names of reported activities there too, by their time.
        found = {key: value for key, value in json.loads(text or "{}").items() if not key.isdigit()}
        return found or None

    def span(self, name: str) -> AbstractContextManager[None]:
        """See :meth:`Trace.span`."""
        check_name(name)
        return _Span(self._request, name)

    def report(self, name: str) -> None:
        """See :meth:`Trace.report`."""
        check_name(name, moment=True)
        self._request._trace_report(name)


class _Span(AbstractContextManager[None]):
    __slots__ = ("_name", "_request")

    def __init__(self, request: Any, name: str) -> None:
        self._request = request
        self._name = name

    def __enter__(self) -> None:
        self._request._trace_report(f"{self._name}_START")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._request._trace_report(f"{self._name}_END")


@functools.lru_cache(maxsize=1024)  # the few names of a plugin come again with every request
def check_name(name: str, *, moment: bool = False) -> None:
    """Refuse what would spoil the trace, whether the request is traced or not: so that it is found in time.

    :raises InternalError: says why.
    """
    if not name or _UNFIT.search(name):
        raise InternalError(
            f"{name!r} is no name for a trace: Triton takes no quotes, backslashes or control characters"
        )
    if moment and name.endswith(_RESERVED):
        raise InternalError(f"{name!r} would open or close a span: use `with request.trace.span(...)`")


_NO_SPAN = nullcontext()
#: Of every request that Triton does not trace.
NO_TRACE = Trace()
