"""The trace of a request under test: a list of what the plugin reported."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from triton_backend_sdk.trace import RequestTrace


class FakeTrace(RequestTrace):
    """Records what the plugin reports, spans as ``NAME_START`` and ``NAME_END``.

    :param context: what :attr:`Trace.context` says.
    """

    __slots__ = ("_context", "activities")

    def __init__(self, context: Mapping[str, Any] | None = None) -> None:
        super().__init__(self)
        self._context = json.dumps(dict(context or {}))
        #: Names in the order of their report.
        self.activities: list[str] = []

    def __repr__(self) -> str:
        return f"<FakeTrace {self.activities}>"

    def _trace_info(self) -> tuple[int, int, str]:
        return 1, 0, self._context

    def _trace_report(self, name: str) -> None:
        self.activities.append(name)
