"""Each example as its reader has it: its tests pass in its folder, and its README's commands answer as it says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from triton_backend_sdk.tools.build import build_backend
from triton_backend_sdk.tools.project import Project
from triton_backend_sdk.tools.server import TritonServer

EXAMPLES = Path(__file__).parent.parent / "examples"
NAMES = sorted(path.parent.name for path in EXAMPLES.glob("*/pyproject.toml"))
#: Where READMEs suppose the server, as `tbsdk serve` has it: over HTTP and gRPC.
USUAL_URL, USUAL_GRPC_URL = "127.0.0.1:8000", "127.0.0.1:8001"


def read_sessions(name: str) -> list[tuple[str, str]]:
    """Give the commands of a README's console blocks with what they print."""
    text = (EXAMPLES / name / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [
        (command, output)
        for block in blocks
        for command, output in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)
    ]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """Give one server with all the examples in it."""
    out = tmp_path_factory.mktemp("backends")
    projects = [Project.find(EXAMPLES / name) for name in NAMES]
    for project in projects:
        assert (build_backend(project, out) / f"libtriton_{project.name}.so").is_file()
    with TritonServer([project.model_repository for project in projects], backend_directory=out) as running:
        yield running


def test_there_are_examples_and_a_list_of_them():
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| \[(\w+)\]\((\w+)\)", text, re.MULTILINE)

    assert sorted(name for name, _ in listed) == NAMES
    assert all(name == folder for name, folder in listed)


@pytest.mark.parametrize("name", NAMES)
def test_its_own_tests_pass(name):
    result = subprocess.run(
        [sys.executable, "-W", "error", "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider"],
        cwd=EXAMPLES / name,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )

    assert result.returncode == 0, result.stdout + result.stderr
    if "skipped" in result.stdout:
        pytest.skip(result.stdout)


@pytest.mark.parametrize(
    ("name", "command", "expected"),
    [
        pytest.param(name, *session, id=f"{name}-{i}")
        for name in NAMES
        for i, session in enumerate(read_sessions(name))
    ],
)
def test_its_readme_tells_what_happens(server, tmp_path, name, command, expected):
    folder = shutil.copytree(EXAMPLES / name, tmp_path / name)
    line = command.replace(USUAL_URL, server.http_url).replace(USUAL_GRPC_URL, server.grpc_url)
    if line == command and not command.startswith("tbsdk config"):
        line = f"{command} --url {server.http_url}"
    result = subprocess.run(
        ["bash", "-c", line],
        cwd=folder,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    printed = result.stdout + result.stderr

    assert says(expected, printed), f"{line}\nprinted\n{printed}\nbut its README says\n{expected}"


def says(expected: str, printed: str) -> bool:
    """Compare but for white space; "..." in what is expected stands for anything, as in doctest."""
    parts = [re.escape(" ".join(part.split())) for part in expected.split("...")]
    return re.search(".*".join(parts), " ".join(printed.split())) is not None


@pytest.mark.parametrize("name", NAMES)
def test_it_is_small(name):
    plugin = Project.find(EXAMPLES / name).package / "plugin.py"

    assert len(plugin.read_text(encoding="utf-8").splitlines()) <= 80
    assert read_sessions(name), "the README shows no request"
