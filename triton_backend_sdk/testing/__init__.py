"""Tests of a backend, from the cheapest to the most real.

- :class:`FakeHost` runs a plugin's hooks on NumPy arrays: no server, no compiler, milliseconds.
- :class:`TritonCore` is the real Triton core inside the test's process.
- the ``tritonserver`` fixture (:mod:`triton_backend_sdk.testing.pytest_plugin`) is the real server process.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from triton_backend_sdk.testing.core import CoreResponse, CoreTrace, Raw, Stream, TritonCore
    from triton_backend_sdk.testing.fake_host import FakeHost
    from triton_backend_sdk.testing.fake_trace import FakeTrace

__all__ = ["CoreResponse", "CoreTrace", "FakeHost", "FakeTrace", "Raw", "Stream", "TritonCore"]

_HOMES = {"FakeHost": "fake_host", "FakeTrace": "fake_trace"}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: the pytest plugin lives here too and must stay cheap."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES.get(name, 'core')}"), name)
