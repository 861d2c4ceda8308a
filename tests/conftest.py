"""Golden files, and a real server that echoes tensors."""

from __future__ import annotations

import signal
import textwrap
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from triton_backend_sdk.dtypes import DataType
from triton_backend_sdk.tools.build import build_backend
from triton_backend_sdk.tools.project import Project
from triton_backend_sdk.tools.server import TritonServer

GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write tests/golden anew instead of comparing"
    )


def pytest_configure() -> None:
    # A shell makes what it runs in the background ignore Ctrl-C, with all that it starts; tests send it.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep lone surrogates out of a report: xdist stops the whole run over a log that holds one."""
    report = yield
    report.sections = [
        (name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections
    ]
    return report


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Give ``golden(name, text)``: the text must be what tests/golden/NAME holds."""

    def compare(name: str, text: str) -> None:
        file = GOLDEN / name
        if request.config.getoption("--update-golden"):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        assert text == file.read_text(encoding="utf-8"), f"{file} differs; see pytest --update-golden"

    return compare


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give an empty cache folder to the SDK, and no other tritonserver."""
    monkeypatch.setenv("TBSDK_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("TBSDK_TRITONSERVER", raising=False)
    monkeypatch.setattr("triton_backend_sdk.tools.installation.IMAGE_ROOT", tmp_path / "opt")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    return tmp_path / "cache"


ECHO = """
import time

from triton_backend_sdk import Response, hookimpl

@hookimpl
def finalize(instance):
    time.sleep(instance.model.parameters.get_float("slow_finalize", 0))

@hookimpl
def execute(requests):
    for request in requests:
        if "fail" in request.parameters:
            raise ValueError("asked to fail")
    return [
        Response({"OUT" + name[2:]: tensor.numpy() for name, tensor in request.items()})
        for request in requests
    ]
"""


def write_echo_project(root: Path, models: dict[str, str]) -> Project:
    """Write a backend that gives every IN... back as OUT...; the configs come without their first line."""
    (root / "echo").mkdir(parents=True)
    (root / "echo" / "__init__.py").touch()
    (root / "echo" / "plugin.py").write_text(ECHO)
    (root / "pyproject.toml").write_text(
        '[project]\nname = "echo"\nversion = "1"\n[tool.tbsdk]\nbackend = "echo"\n'
    )
    for name, config in models.items():
        (root / "model_repository" / name / "1").mkdir(parents=True)
        file = root / "model_repository" / name / "config.pbtxt"
        file.write_text('backend: "echo"\n' + textwrap.dedent(config))
    return Project.find(root)


def tensors(suffixes: dict[str, str], dims: str = "-1") -> str:
    """Give the input and output blocks of a config: suffix to config name of the datatype."""
    blocks = []
    for side, prefix in (("input", "IN"), ("output", "OUT")):
        for suffix, datatype in suffixes.items():
            blocks.append(f'{side} [{{ name: "{prefix}{suffix}" data_type: {datatype} dims: [ {dims} ] }}]')
    return "\n".join(blocks)


ECHO_MODELS = {
    "rows": "max_batch_size: 8\n" + tensors({"": "TYPE_FP32"}),
    "texts": "max_batch_size: 8\n" + tensors({"": "TYPE_STRING"}, "1"),
    "every": tensors({f"_{member.value}": member.config_name for member in DataType}),
    "pair": tensors({"0": "TYPE_INT32", "1": "TYPE_INT32"}, "2"),
}


@pytest.fixture(scope="session")
def echo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """Give a running server with the models of ECHO_MODELS."""
    root = tmp_path_factory.mktemp("echo")
    project = write_echo_project(root / "project", ECHO_MODELS)
    build_backend(project, root / "backends")
    with TritonServer(project.model_repository, backend_directory=root / "backends") as server:
        yield server
