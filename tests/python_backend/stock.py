"""The stock backend's own Python file, from the installed server: what ours is compared with."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest

from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.installation import find_server

NAME = "triton_python_backend_utils"


def stock_utils() -> ModuleType:
    """Import it, under a name of its own; skip where no server is installed that has it."""
    try:
        backends = find_server().backends
    except HandledError as error:
        pytest.skip(str(error))
    path = None if backends is None else backends / "python" / f"{NAME}.py"
    if path is None or not path.is_file():
        pytest.skip(f"the installed server has no {NAME}.py")
    spec = importlib.util.spec_from_file_location(f"stock_{NAME}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
