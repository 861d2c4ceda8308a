"""A ``model.py`` from a string, served by the ready-made backend on the real Triton core in this process.

``serve_model(source)`` gives a :class:`~tests.runtime.conftest.Served`: ``served.infer({"IN": array})``,
``served.stream(...)``, ``served.log``, ``served.core`` for all that TritonCore does. The source may leave out
its first lines: numpy as ``np`` and the utils as ``pb_utils`` are imported for it, unless ``header=False``.

- ``helpers={"helper.py": text}``: files beside model.py, by their path in the version's folder; one that
  begins with ``../`` lies in the model's folder.
- ``inputs``, ``outputs``: name to (datatype, dims); IN and OUT are FP32 of any length by default.
- ``batch``, ``parameters``, ``extra``: max_batch_size, the config's parameters and further lines of it;
  ``decoupled=True`` and ``instances=2`` write such lines.
- ``load=False`` leaves loading to the test: ``served.core.load(served.name)``.
- ``beside=other_served`` puts the model into the same repository and server; ``name`` chooses its name.
- ``core_options``: what TritonCore takes.

At the end of a test nothing of Triton's may be alive, and nothing may have been answered twice.
"""

from __future__ import annotations

import itertools
import sys
import textwrap
from pathlib import Path

import pytest

from tests.runtime.conftest import FP32, Served, serve, write_model  # noqa: F401  a fixture
from triton_backend_sdk.testing.core import TritonCore
from triton_backend_sdk.tools.build import build_backend
from triton_backend_sdk.tools.project import Project

BACKEND = "python_under_test"
PLUGIN = '''
from triton_backend_sdk.python_backend import PythonBackend

class Backend(PythonBackend):
    """The Python backend."""
'''
HEADER = "import numpy as np\nimport triton_python_backend_utils as pb_utils\n"
_numbers = itertools.count()


@pytest.fixture(scope="session")
def python_backends(tmp_path_factory):
    """Build the backend once; gives the backend directory and the project."""
    root = tmp_path_factory.mktemp("python_backend")
    package = root / BACKEND / BACKEND
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "plugin.py").write_text(PLUGIN)
    (package.parent / "pyproject.toml").write_text(
        f'[project]\nname = "{BACKEND}"\n[tool.tbsdk]\nbackend = "{BACKEND}"\n'
    )
    project = Project.find(package.parent)
    build_backend(project, root / "backends", link=True)
    return root / "backends", project


@pytest.fixture
def serve_model(tmp_path, python_backends):
    """Serve models given as source text; see the top of this file."""
    backends, project = python_backends
    running: list[Served] = []

    def make(
        source,
        *,
        helpers=None,
        inputs=FP32[0],
        outputs=FP32[1],
        header=True,
        load=True,
        beside=None,
        name=None,
        decoupled=False,
        instances=1,
        extra="",
        core_options=None,
        **config,
    ) -> Served:
        name = name or f"model_{next(_numbers)}"
        if decoupled:
            extra += "\nmodel_transaction_policy { decoupled: true }"
        if instances != 1:
            extra += f"\ninstance_group {{ count: {instances} kind: KIND_CPU }}"
        repository = tmp_path / "models"
        write_model(repository, name, BACKEND, inputs, outputs, extra=extra, **config)
        folder: Path = repository / name / "1"
        text = (HEADER if header else "") + textwrap.dedent(source)
        for path, content in {"model.py": text, **(helpers or {})}.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(textwrap.dedent(content))
        core = beside.core if beside else TritonCore(repository, backends, **(core_options or {}))
        served = Served(name, core, repository, backends, project)
        running.append(served)
        if load:
            core.load(name)
        return served

    yield make
    for served in running:
        assert served.core.wait_released(5), served.core.live_objects()
        served.core.close()
        assert served.core.late_answers == 0
    sys.modules.pop(f"{BACKEND}.plugin", None)
