"""A real server's backends for the cases: one that answers anything, and the ready-made one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tools.check_repositories.cases import BACKEND
from triton_backend_sdk.tools.build import build_backend
from triton_backend_sdk.tools.compat import compat_backend
from triton_backend_sdk.tools.project import Project

PLUGIN = """
import numpy as np

from triton_backend_sdk import Response, hookimpl


def zeros(model, output):
    batch = [1] if model.max_batch_size else []
    return np.zeros([*batch, *(1 if dim < 0 else dim for dim in output.dims)], np.float32)


@hookimpl
def execute(instance, requests):
    model = instance.model
    return [Response({output.name: zeros(model, output) for output in model.outputs}) for request in requests]
"""


@pytest.fixture(scope="session")
def backends(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with both."""
    root = tmp_path_factory.mktemp("check")
    (root / BACKEND).mkdir()
    (root / BACKEND / "__init__.py").touch()
    (root / BACKEND / "plugin.py").write_text(PLUGIN)
    (root / "model_repository").mkdir()
    (root / "pyproject.toml").write_text(
        f'[project]\nname = "{BACKEND}"\nversion = "1"\n[tool.tbsdk]\nbackend = "{BACKEND}"\n'
    )
    for project in (Project.find(root), compat_backend()):
        build_backend(project, root / "backends")
    return root / "backends"
