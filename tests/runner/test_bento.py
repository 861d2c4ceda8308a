"""A model repository as a BentoML service: the files that `tbsdk bento` writes, and a service that really serves."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.runtime.conftest import write_model
from triton_backend_sdk import cli
from triton_backend_sdk.tools.bento import export
from triton_backend_sdk.tools.build import build_backend
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.ports import choose_ports
from triton_backend_sdk.tools.project import Project

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
#: A Python with BentoML may lie elsewhere: it is heavy, and wants its own versions of much.
BENTO_PYTHON = os.environ.get("TBSDK_BENTO_PYTHON") or (
    sys.executable if importlib.util.find_spec("bentoml") else None
)
needs_bentoml = pytest.mark.skipif(
    BENTO_PYTHON is None,
    reason="bentoml is not installed: pip install 'bentoml>=1.4', or name a Python that has it in TBSDK_BENTO_PYTHON",
)


def run(*words):
    return CliRunner().invoke(cli.cli, ["bento", *map(str, words)], catch_exceptions=False)


@pytest.fixture
def models(tmp_path):
    """A repository with one model of each kind that matters to a service."""
    root = tmp_path / "shop" / "models"
    row = {"IN": ("FP32", [-1])}
    write_model(root, "plain", "b", row, {"OUT": ("FP32", [-1])}, batch=8)
    many = {"IN": ("INT32", [1]), "TEXT-0": ("BYTES", [1], "optional: true"), "class": ("BOOL", [1])}
    write_model(root, "my-model.v2", "b", many, {"OUT": ("BYTES", [1])})
    write_model(
        root, "many", "b", row, {"OUT": ("FP32", [-1])}, extra="model_transaction_policy { decoupled: true }"
    )
    (root / "completed" / "1").mkdir(parents=True)
    return root


def test_e5_13_export_is_golden(models, golden):
    found = export(models)
    ast.parse(found.service)
    golden("bento/service.py.txt", found.service)
    golden("bento/bentofile.yaml", found.bentofile)


def test_the_base_image_follows_the_release(models):
    assert ":24.10-py3" in export(models, release="24.10").bentofile
    assert "with Python 3.10" in export(models, release="24.10").bentofile
    assert 'base_image: "mine:1"' in export(models, image="mine:1").bentofile
    with pytest.raises(HandledError, match=r"release 22\.12 is too old"):
        export(models, release="22.12")


def test_what_cannot_be_exported(tmp_path, models):
    with pytest.raises(HandledError, match="there is no model repository"):
        export(tmp_path / "nowhere")
    with pytest.raises(HandledError, match="'A b' cannot name a Bento"):
        export(models, name="A b")
    (models / "plain" / "config.pbtxt").write_text("input [")
    with pytest.raises(HandledError, match=r"plain/config.pbtxt: .*line 1"):
        export(models)


def test_export_writes_beside_the_repository_or_copies_it(models, tmp_path):
    assert run("export", models).exit_code == 0
    assert sorted(path.name for path in models.parent.iterdir()) == ["bentofile.yaml", "models", "service.py"]
    with pytest.raises(HandledError, match=r"service.py is there already"):
        run("export", models)
    assert run("export", models, "--force", "--name", "other").exit_code == 0
    assert 'service: "service:Other"' in (models.parent / "bentofile.yaml").read_text()
    assert run("export", models, "-o", tmp_path / "out").exit_code == 0
    assert (tmp_path / "out" / "models" / "plain" / "config.pbtxt").is_file()


def test_serve_takes_bentomls_old_options(tmp_path, monkeypatch):
    program = tmp_path / "bentoml"
    program.write_text('#!/bin/sh\necho "$TBSDK_RUNNER_OPTIONS|$*"\n')
    program.chmod(0o755)
    command = [sys.executable, "-m", "triton_backend_sdk", "bento", "serve", str(tmp_path)]
    options = [
        "--triton-option",
        "model-control-mode=explicit",
        "--triton-options",
        "load_model:rows",
        "--port",
        "1",
    ]
    environ = {**os.environ, "PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run(
        [*command, *options], env=environ, capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == f"model-control-mode=explicit load_model:rows|serve {tmp_path} --port 1\n"
    for wrong in ("nosuch=1", "model-repository=x", "grpc-port"):
        failed = [*command, "--triton-option", wrong]
        done = subprocess.run(failed, env=environ, capture_output=True, text=True, timeout=30, check=False)
        assert (done.returncode, wrong.partition("=")[0] in done.stderr) == (1, True), done.stderr


class Service:
    """A `bentoml serve` on loopback."""

    def __init__(self, folder, **environ):
        [self.port] = choose_ports({"it": None}).values()
        command = [
            BENTO_PYTHON,
            "-m",
            "bentoml",
            "serve",
            ".",
            "--host",
            "127.0.0.1",
            "--port",
            str(self.port),
        ]
        given = {
            **os.environ,
            "BENTOML_DO_NOT_TRACK": "True",
            "BENTOML_HOME": str(folder / "bentoml"),
            **environ,
        }
        given["PYTHONPATH"] = str(EXAMPLES.parent)
        self.log = (folder / "log.txt").open("w+")
        self.process = subprocess.Popen(
            command, cwd=folder, env=given, stdout=self.log, stderr=subprocess.STDOUT, start_new_session=True
        )

    def ask(self, path, document=None):
        data = None if document is None else json.dumps(document).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/{path}", data, headers)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
            return answer.read().decode()

    def __enter__(self):
        deadline = time.monotonic() + 60
        while True:
            assert self.process.poll() is None, self.text()
            assert time.monotonic() < deadline, self.text()
            try:
                self.ask("livez")
                return self
            except OSError:
                time.sleep(0.1)

    def text(self):
        self.log.seek(0)
        return self.log.read()

    def __exit__(self, *exception):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.log.close()


@needs_bentoml
def test_the_example_serves(tmp_path):
    folder = tmp_path / "service"
    shutil.copytree(EXAMPLES / "bentoml_service", folder)
    for name in ("text_normalize", "token_streaming"):
        build_backend(Project.find(EXAMPLES / name), folder / "build" / "backends")
    with Service(folder) as service:
        assert json.loads(service.ask("normalize", {"texts": ["  Hello   WORLD ", " "]})) == ["hello world"]
        assert json.loads(service.ask("versions", {})) == {"text_normalize": ["1"], "token_streaming": ["1"]}
        words = service.ask("go_on", {"prompt": "the", "tokens": 3}).split()
        assert 1 <= len(words) <= 3


@needs_bentoml
def test_what_is_exported_serves(tmp_path, repository, backends, started):
    folder = tmp_path / "service"
    assert run("export", repository, "-o", folder).exit_code == 0
    options = f"backend-directory={backends}"
    with Service(folder, TBSDK_RUNNER_OPTIONS=options) as service:
        assert json.loads(service.ask("pair", {"IN0": [1, 2], "IN1": [3, 4]})) == {
            "OUT0": [1, 2],
            "OUT1": [3, 4],
        }
        assert json.loads(service.ask("rows", {"IN": [1, 2]})) == {"OUT": [[1, 2]]}
        assert json.loads(service.ask("infer", {"model": "texts", "inputs": {"IN": "é"}})) == {"OUT": [["é"]]}
        lines = service.ask("many", {"IN": [2]}).splitlines()
        assert [json.loads(line) for line in lines] == [{"OUT": [0]}, {"OUT": [1]}]
    with Service(folder, TRITON_URL=started.url) as service:
        assert json.loads(service.ask("rows", {"IN": [[1, 2]]})) == {"OUT": [[1, 2]]}
