"""Debuggers and coverage on threads that Python did not start.

``threading.settrace`` reaches only threads that Python itself starts, and a plugin runs on Triton's. In a
process whose interpreter is not the server's own, a test's above all, each entry into Python asks for it.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any


def follow() -> None:
    """Take over the trace function of ``threading.settrace``, as a thread of Python's does when it starts."""
    trace = threading.gettrace()
    if trace is not None and sys.gettrace() is None:
        sys.settrace(trace)


def following(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap what C calls, such as execute; a server, which nobody traces, does without."""

    def call(*arguments: Any) -> Any:
        follow()
        return function(*arguments)

    return call
