"""Model repositories in a bucket: moto speaks S3, and the real server, its launchers and `tbsdk check` read it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import write_echo_project
from tests.integration.test_explain import log_of
from tests.s3 import NOBODY, Store, a_store, nobody_answers, sign_in
from tests.tools.check_repositories.cases import TOGETHER
from triton_backend_sdk.cli import run
from triton_backend_sdk.runner import Runner, StartError
from triton_backend_sdk.tools.build import build_backend
from triton_backend_sdk.tools.check.engine import check
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.installation import find_server
from triton_backend_sdk.tools.server import TritonServer
from triton_backend_sdk.tools.server_options.options import ServerOptions

#: A server takes a second or two; waiting for one that nobody bounds takes minutes.
SECONDS = 40
CONFIG = """
    max_batch_size: 8
    input [{ name: "IN" data_type: TYPE_FP32 dims: [ -1 ] }]
    output [{ name: "OUT" data_type: TYPE_FP32 dims: [ -1 ] }]
"""
ROWS = {"inputs": [{"name": "IN", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]}


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with a_store() as store:
        yield store


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    sign_in(monkeypatch)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a project whose backend is built, with no models on this machine."""
    root = tmp_path_factory.mktemp("remote") / "project"
    made = write_echo_project(root, {"rows": CONFIG})
    build_backend(made, root / "backends")
    return root


@pytest.fixture(scope="module")
def backends(project: Path) -> Path:
    return project / "backends"


@pytest.fixture(scope="module")
def root(store: Store, project: Path) -> str:
    """Give s3:// of a bucket with the project's model."""
    return store.upload("echo", project / "model_repository")


def ask(url: str) -> list[float]:
    request = urllib.request.Request(f"{url}/v2/models/rows/infer", json.dumps(ROWS).encode())
    with urllib.request.urlopen(request, timeout=10) as answer:
        data: list[float] = json.load(answer)["outputs"][0]["data"]
        return data


# It works.


def test_the_server_answers_from_a_bucket(root: str, backends: Path) -> None:
    options = ServerOptions(model_repository=[root], backend_directory=backends)
    assert check(options, server=find_server()) == []
    with TritonServer(root, backend_directory=backends) as server:
        assert [(model.name, model.state) for model in server.models()] == [("rows", "READY")]
        assert ask(f"http://{server.http_url}") == [1, 2]


def test_the_server_takes_the_credentials_of_a_file(
    store: Store, root: str, backends: Path, tmp_path: Path
) -> None:
    file = tmp_path / "credentials.json"
    with store.closed() as owner:
        file.write_text(json.dumps({"s3": {"": {"key_id": "x", "secret_key": "y"}, root: owner}}))
        env = {"TRITON_CLOUD_CREDENTIAL_PATH": str(file)}
        with TritonServer(root, backend_directory=backends, env=env) as server:
            assert ask(f"http://{server.http_url}") == [1, 2]


def test_tbsdk_serve_answers_from_a_bucket(root: str, backends: Path) -> None:
    """With the backends of one folder, and nothing to build."""
    source = Path(__file__).parents[2]
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "triton_backend_sdk",
            "serve",
            root,
            f"--backend-directory={backends}",
            "--plain",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": str(source)},
    )
    with process:
        try:
            assert process.stdout is not None
            said = ""
            for line in process.stdout:
                said += line
                if match := re.search(r"http +(http://\S+)", line):
                    assert ask(match[1]) == [1, 2]
                    break
            else:
                pytest.fail(said)
            process.send_signal(signal.SIGINT)
            process.stdout.read()
            assert process.wait(60) == 0
        finally:
            process.kill()


@pytest.mark.parametrize("how", ["server", "in process"])
def test_a_runner_calls_models_of_a_bucket(root: str, backends: Path, how: str) -> None:
    """With the scheme of the store in the root, which check takes, too."""
    root = root.replace("s3://", "s3://http://")
    options = ServerOptions(model_repository=[root], backend_directory=backends)
    assert check(options, server=find_server()) == []
    with Runner(root, backend_directory=backends, in_process=how == "in process") as runner:
        assert runner.rows.run([[1, 2]], cast="same_kind")["OUT"].tolist() == [[1, 2]]


def test_a_bento_of_a_bucket(root: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bento", "export", root, "-o", str(tmp_path)]) == 0

    assert sorted(path.name for path in tmp_path.iterdir()) == ["bentofile.yaml", "service.py"]
    service = (tmp_path / "service.py").read_text()
    assert f'\nREPOSITORY = "{root}"\n' in service
    assert "async def rows(self, IN:" in service
    assert '@bentoml.service(name="echo"' in service
    assert "Path" not in service
    assert 'include:\n  - "service.py"\npython:' in (tmp_path / "bentofile.yaml").read_text()


# It does not.


def test_check_the_server_and_explain_agree(store: Store, backends: Path, tmp_path: Path) -> None:
    """On sound and broken models; there are more in the tests of check, without a server."""
    cases = [case for case in TOGETHER if not case.beside][::18]
    folder = tmp_path / "models"
    folder.mkdir()
    for case in cases:
        case.write(folder)
    root = store.upload("mixed", folder)
    options = ServerOptions(model_repository=[root], backend_directory=backends, exit_on_error=False)
    findings = {each.model for each in check(options, server=find_server()) if each.severity == "error"}

    server = TritonServer((), options)
    server.start()
    try:
        ready = {model.name for model in server.wait_ready(100) if model.state == "READY"}
    finally:
        server.kill()

    names = {case.name for case in cases}
    assert len(cases) > 15
    assert (names - findings, names & findings) == (ready, names - ready)


@pytest.mark.parametrize("place", ["echo/nosuch", "echo/models/rows/config.pbtxt"])
def test_no_such_folder(store: Store, root: str, place: str) -> None:
    with pytest.raises(HandledError, match="repository path is not a valid directory") as caught:
        TritonServer(f"s3://{store.address}/{place}").__enter__()
    assert (
        caught.value.next_step
        == "tbsdk check s3://... reads the bucket with the same credentials, and says more"
    )


def test_an_empty_folder_is_a_repository(store: Store) -> None:
    store.put("hollow", [("models/", b"")])
    with TritonServer(f"s3://{store.address}/hollow/models") as server:
        assert server.models() == []


def test_wrong_credentials(
    store: Store, root: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with store.closed():
        with pytest.raises(HandledError, match="Check account credentials") as caught:
            TritonServer(root).__enter__()
        log = log_of(tmp_path, [f"--model-repository={root}"])
    assert (
        caught.value.next_step
        == "tbsdk check s3://... reads the bucket with the same credentials, and says more"
    )
    run(["explain", str(log), "--json"])
    found = json.loads(capsys.readouterr().out)["findings"]
    assert [each["id"] for each in found if each["severity"] == "error"] == ["cloud-credentials"]


@pytest.mark.parametrize(
    ("root", "says"),
    [
        *NOBODY,
        ("as://account/container", "AZURE_STORAGE_KEY is no key"),
    ],
)
def test_nobody_there(monkeypatch: pytest.MonkeyPatch, root: str, says: str) -> None:
    """Nothing is started: for minutes it would wait, or it would abort."""
    nobody_answers(monkeypatch)
    if "key" in says:
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "account")
        monkeypatch.setenv("AZURE_STORAGE_KEY", "no key")
    began = time.monotonic()

    server = TritonServer(root)
    with pytest.raises(HandledError, match=says):
        server.start()
    for in_process in (False, True):
        with pytest.raises(StartError, match=says):
            Runner(root, in_process=in_process).start()

    assert server.log_lines() == []
    assert time.monotonic() - began < SECONDS


def test_a_store_that_takes_calls_and_never_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(HandledError, match="timed out after 5 s"):
            run(["serve", f"s3://127.0.0.1:{silent.getsockname()[1]}/bucket/models", "--plain"])
        assert time.monotonic() - began < SECONDS


def test_no_such_bucket(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = f"s3://{store.address}/nowhere/models"

    with pytest.raises(HandledError, match="there is no bucket nowhere"):
        TritonServer(root).start()

    run(["explain", str(log_of(tmp_path, [f"--model-repository={root}"])), "--json"])
    found = json.loads(capsys.readouterr().out)["findings"]
    assert [each["id"] for each in found if each["severity"] == "error"] == ["cloud-credentials"]


def test_a_bucket_that_does_not_answer_leaves_a_log_that_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the server does without the look before: nothing, for a long time."""
    log = log_of(tmp_path, ["--model-repository=s3://127.0.0.1:1/bucket/models"], seconds=4)

    assert run(["explain", str(log)]) == 1
    assert "the log ends where the server opens its model repository" in capsys.readouterr().out
