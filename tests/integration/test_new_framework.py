"""Entries that `tbsdk new --framework` writes, in the real server."""

from __future__ import annotations

import pytest

from tests.runtime.conftest import write_project
from triton_backend_sdk.cli import run
from triton_backend_sdk.tools.build import build_backend
from triton_backend_sdk.tools.compat import build_compat
from triton_backend_sdk.tools.model_entry import FRAMEWORKS
from triton_backend_sdk.tools.server import ServerOptions, TritonServer, find_server

#: What comes of [1, 2, 3, 4].
ANSWERS = {"python": [2, 4, 6, 8], "ensemble": [3, 5, 7, 9]}


@pytest.mark.parametrize("options", [[], ["--labels", "--warmup"]], ids=["plain", "labelled and warm"])
def test_entries_of_python_are_served(tmp_path, options):
    repository, backends = tmp_path / "models", tmp_path / "backends"
    for framework in ANSWERS:
        more = options if framework == "python" else []
        run(["new", f"my_{framework}", "--framework", framework, "--into", str(repository), *more])
    build_compat(backends, find_server().backends)
    tensor = {"name": "INPUT", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}
    with TritonServer(repository, backend_directory=backends) as server:
        for framework, data in ANSWERS.items():
            answer = server.request(
                f"/v2/models/my_{framework}/infer", method="POST", body={"inputs": [tensor]}
            )
            assert answer["outputs"][0]["data"] == data


DOUBLE = """
from triton_backend_sdk import Response, hookimpl

@hookimpl
def execute(requests):
    return [Response({"OUTPUT": request["INPUT"].numpy() * 2}) for request in requests]
"""


@pytest.mark.parametrize("options", [[], ["--labels", "--warmup"]], ids=["plain", "labelled and warm"])
def test_an_entry_of_a_backend_of_ones_own_is_served(tmp_path, options):
    repository = tmp_path / "models"
    build_backend(write_project(tmp_path, "doubling", DOUBLE), tmp_path / "backends")
    run(
        [
            "new",
            "a-1.b",
            "--framework",
            "custom",
            "--backend",
            "doubling",
            "--into",
            str(repository),
            *options,
        ]
    )
    tensor = {"name": "INPUT", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}
    wanted = [{"name": "OUTPUT", "parameters": {"classification": 2}}] if options else [{"name": "OUTPUT"}]

    with TritonServer(repository, backend_directory=tmp_path / "backends") as server:
        body = {"inputs": [tensor], "outputs": wanted}
        answer = server.request("/v2/models/a-1.b/infer", method="POST", body=body)

    data = answer["outputs"][0]["data"]
    assert data == (["8.000000:3:fourth", "6.000000:2:third"] if options else [2, 4, 6, 8])


def test_of_the_others_the_server_lacks_only_the_backend(tmp_path):
    """What it says of a config stands before that."""
    repository, backends = tmp_path / "models", tmp_path / "none"
    backends.mkdir()
    lacking = [name for name, (_, file) in FRAMEWORKS.items() if file]
    for name in lacking:
        more = [] if name == "dali" else ["--warmup", "--labels"]
        run(["new", f"m_{name}", "--framework", name, "--into", str(repository), *more])
        file = repository / f"m_{name}" / "1" / FRAMEWORKS[name][1].rstrip("/")
        file.mkdir() if FRAMEWORKS[name][1].endswith("/") else file.touch()

    options = ServerOptions(exit_on_error=False)
    with TritonServer(repository, options, backend_directory=backends) as server:
        rows = {row.name: row.reason for row in server.models()}

    assert set(rows) == {f"m_{name}" for name in lacking}
    aoti = rows.pop("m_torch_aoti")  # younger than the server
    assert "unable to find" in aoti or "got:torch_aoti, pytorch" in aoti
    assert [reason for reason in rows.values() if "unable to find" not in reason] == []
