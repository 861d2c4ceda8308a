"""A plugin from a string, driven by the real Triton core in this process; every test ends with nothing left alive."""

from __future__ import annotations

import itertools
import sys
import textwrap
import time
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from triton_backend_sdk import TritonError
from triton_backend_sdk.testing.core import TritonCore
from triton_backend_sdk.tools.build import build_backend
from triton_backend_sdk.tools.project import Project

_numbers = itertools.count()
FP32 = {"IN": ("FP32", [-1])}, {"OUT": ("FP32", [-1])}


def ints(value):
    return {"IN": np.int32([value])}


def numbers(responses):
    """The values of a stream's responses, errors as exceptions."""
    return [item if isinstance(item, TritonError) else item["OUT"].tolist()[0] for item in responses]


def drain(responses):
    """All responses, errors as exceptions."""
    found = []
    while True:
        try:
            found.append(next(responses))
        except StopIteration:
            return found
        except TritonError as error:
            found.append(error)


def wait_for(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def write_project(root: Path, name: str, source: str, settings: str = "") -> Project:
    package = root / name / name
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "plugin.py").write_text(textwrap.dedent(source))
    (package.parent / "pyproject.toml").write_text(
        f'[project]\nname = "{name}"\n[tool.tbsdk]\nbackend = "{name}"\n{settings}'
    )
    return Project.find(package.parent)


def write_model(
    repository: Path, model: str, backend: str, inputs, outputs, batch=0, parameters=None, extra=""
):
    def tensors(kind, specs):
        lines = []
        for tensor, (dtype, dims, *more) in specs.items():
            config_type = "TYPE_STRING" if dtype == "BYTES" else f"TYPE_{dtype}"
            lines.append(
                f'{kind} {{ name: "{tensor}" data_type: {config_type} dims: {dims} {" ".join(more)} }}'
            )
        return lines

    folder = repository / model
    (folder / "1").mkdir(parents=True)
    text = [
        f'backend: "{backend}"',
        f"max_batch_size: {batch}",
        *tensors("input", inputs),
        *tensors("output", outputs),
    ]
    text += [
        f'parameters {{ key: "{k}" value {{ string_value: "{v}" }} }}' for k, v in (parameters or {}).items()
    ]
    if "instance_group" not in extra:
        text.append("instance_group { kind: KIND_CPU }")
    (folder / "config.pbtxt").write_text("\n".join([*text, extra]))


@dataclass
class Served:
    name: str
    core: TritonCore
    repository: Path
    backends: Path
    project: Project

    def infer(self, inputs, **more):
        return self.core.infer(self.name, inputs, timeout=20, **more)

    def send(self, inputs, **more):
        return self.core.infer_async(self.name, inputs, **more)

    def stream(self, inputs, **more):
        return self.core.stream(self.name, inputs, timeout=20, **more)

    def responses(self, inputs, **more):
        return self.core.responses(self.name, inputs, timeout=20, **more)

    @property
    def log(self) -> str:
        return self.core.log_text()

    @property
    def module(self) -> ModuleType:
        """The plugin as the server runs it."""
        return sys.modules[f"{self.name}.plugin"]


@pytest.fixture
def serve(tmp_path):
    """Serve a plugin given as source text; at the end nothing may be alive, or have been answered twice."""
    running: list[Served] = []

    def make(
        source,
        inputs=FP32[0],
        outputs=FP32[1],
        *,
        load=True,
        link=True,
        core_options=None,
        settings="",
        beside=None,
        name=None,
        **config,
    ) -> Served:
        name = name or f"plugin_{next(_numbers)}"
        header = "import numpy as np\nfrom triton_backend_sdk import *\n"
        project = write_project(tmp_path / "projects", name, header + textwrap.dedent(source), settings)
        build_backend(project, tmp_path / "backends", link=link)
        write_model(tmp_path / "models", name, name, inputs, outputs, **config)
        core = (
            beside.core
            if beside
            else TritonCore(tmp_path / "models", tmp_path / "backends", **(core_options or {}))
        )
        served = Served(name, core, tmp_path / "models", tmp_path / "backends", project)
        running.append(served)
        if load:
            core.load(name)
        return served

    yield make
    for served in running:
        assert served.core.wait_released(5), served.core.live_objects()
        served.core.close()
        assert served.core.late_answers == 0
        for module in [key for key in sys.modules if key.split(".")[0] == served.name]:
            del sys.modules[module]


#: Does with ``act(server, target, request)`` what a test wants to have happen in an execute.
ACT = """
import asyncio, threading, time, weakref
kept = []
@hookimpl
def execute(instance, requests):
    server, target = instance.model.server, instance.model.parameters.get("target")
    return [Response({{"OUT": np.float32(act(server, target, request))}}) for request in requests]
{act}
"""


DOUBLES = """
@hookimpl
def execute(requests):
    return [Response({"OUT": r["IN"].numpy() * 2}) for r in requests]
"""


@pytest.fixture
def acting(serve):
    """A caller whose ``act`` does what a test wants, and the model that it calls."""

    def make(act, callee=DOUBLES, **config):
        target = serve(callee, **config.pop("target", {}))
        source = ACT.format(act=textwrap.dedent(act))
        return serve(source, beside=target, parameters={"target": target.name}, **config), target

    return make
