"""``tbsdk serve`` as a person runs it: a process, a real server, Ctrl-C."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from triton_backend_sdk.cli import run
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.ports import choose_ports
from triton_backend_sdk.tools.server import find_server

from ..conftest import ECHO_MODELS, tensors, write_echo_project

ROOT = Path(__file__).parents[2]
#: For the stock Python backend.
DOUBLES = """
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        doubled = [pb_utils.get_input_tensor_by_name(request, "IN").as_numpy() * 2 for request in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", array)]) for array in doubled]
"""
TBSDK = [sys.executable, "-m", "triton_backend_sdk"]


class Serve:
    """A running ``tbsdk serve`` with its output."""

    def __init__(self, *words):
        self.process = subprocess.Popen(
            [*TBSDK, "serve", *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        self.lines = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def wait_for(self, text, within=120):
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            for line in list(self.lines):
                if text in line:
                    return line
            time.sleep(0.02)
        raise AssertionError(f"no {text!r} in:\n" + "\n".join(self.lines))

    def end(self, within=30):
        try:
            status = self.process.wait(within)
        except subprocess.TimeoutExpired:
            raise AssertionError("it did not end:\n" + "\n".join(self.lines)) from None
        self.reader.join(5)
        return status


@pytest.fixture
def serve():
    started = []

    def start(*words):
        started.append(Serve(*words))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()
        one.reader.join(10)  # it reads to the end; a file must not be closed under it
        one.process.stdout.close()


@pytest.fixture
def project(tmp_path):
    return write_echo_project(tmp_path / "project", {"rows": ECHO_MODELS["rows"]})


def server_pid(tbsdk_pid):
    children = Path(f"/proc/{tbsdk_pid}/task").glob("*/children")
    [pid] = " ".join(file.read_text() for file in children).split()
    return int(pid)


def test_what_it_shows_works_and_ctrl_c_stops_it(serve, project):
    one = serve(project.root, "--log-verbose=1")
    ready = one.wait_for("curl -s")
    for text in (
        "ready; Ctrl-C stops",
        "http     http://127.0.0.1:",
        "grpc     127.0.0.1:",
        "  model    rows version 1  READY",
    ):
        one.wait_for(text)
    one.wait_for("built echo, starting tritonserver")
    one.wait_for("loading: rows:1")

    curl = subprocess.run(shlex.split(ready), capture_output=True, text=True, check=True, timeout=30)
    assert json.loads(curl.stdout)["outputs"][0]["data"] == [1.0, 2.0, 3.0]
    words = shlex.split(one.wait_for("tbsdk infer rows"))
    assert words[0] == "tbsdk"
    infer = subprocess.run(
        [*TBSDK, *words[1:], "--json"], capture_output=True, text=True, check=True, timeout=30
    )
    assert json.loads(infer.stdout)["outputs"]["OUT"]["data"] == [[1.0, 2.0, 3.0]]

    pid = server_pid(one.process.pid)
    one.process.send_signal(signal.SIGINT)
    assert one.end() == 0
    assert one.lines[-1] == "stopped"
    assert not Path(f"/proc/{pid}").exists()


def test_sigterm_stops_it_too(serve, project):
    one = serve(project.root)
    one.wait_for("ready;")
    one.process.send_signal(signal.SIGTERM)
    assert one.end() == 0
    assert one.lines[-1] == "stopped"


def test_a_second_ctrl_c_does_not_wait(serve, tmp_path):
    slow = ECHO_MODELS["rows"] + '\nparameters { key: "slow_finalize" value { string_value: "60" } }'
    one = serve(write_echo_project(tmp_path / "project", {"rows": slow}).root)
    one.wait_for("ready;")
    pid = server_pid(one.process.pid)
    one.process.send_signal(signal.SIGINT)
    one.wait_for("stopping; Ctrl-C again ends it at once")
    one.wait_for("Signal (15) received")
    one.process.send_signal(signal.SIGINT)
    assert one.end(within=5) == 0
    assert one.lines[-1] == "killed"
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("when", ["ready;", "curl -s"])
def test_a_server_that_dies_ends_it_with_the_last_lines(serve, project, when):
    one = serve(project.root)
    one.wait_for(when)
    os.kill(server_pid(one.process.pid), signal.SIGKILL)
    assert one.end() == 1
    at = one.lines.index("error: tritonserver ended by itself (signal SIGKILL)")
    assert len(one.lines) > at + 1
    assert not any("Traceback" in line for line in one.lines)


def test_a_model_that_fails_is_told(serve, tmp_path):
    broken = write_echo_project(
        tmp_path / "project", {"rows": ECHO_MODELS["rows"], "lost": 'backend: "nope"'}
    )
    (broken.model_repository / "lost" / "config.pbtxt").write_text('backend: "nope"')
    one = serve(broken.root)
    assert one.end() == 1
    one.wait_for("error: tritonserver did not start: Internal - failed to load all models")
    one.wait_for("  failed to load 'lost' version 1: Invalid argument: unable to find backend library")
    assert one.lines[-1].startswith("next: mend the model (see tbsdk check); --exit-on-error=false")


def test_models_that_fail_can_be_lived_with(serve, tmp_path):
    broken = write_echo_project(tmp_path / "project", {"rows": ECHO_MODELS["rows"], "lost": ""})
    (broken.model_repository / "lost" / "config.pbtxt").write_text('backend: "nope"')
    one = serve(broken.root, "--exit-on-error=false")
    one.wait_for("tbsdk infer rows")
    one.wait_for("  model    lost version 1  UNAVAILABLE")
    one.wait_for("           Invalid argument: unable to find backend library for backend 'nope'")
    one.process.send_signal(signal.SIGINT)
    assert one.end() == 0


def test_ports_build_folder_and_server_are_the_given_ones(serve, project, tmp_path):
    port = choose_ports({"http": None})["http"]
    one = serve(
        project.root, "--http-port", port, "-o", tmp_path / "out", "--server", find_server().binary.parents[1]
    )
    assert one.wait_for("http  ").endswith(f"127.0.0.1:{port}")
    one.wait_for("(given path)")
    assert (tmp_path / "out" / "echo" / "libtriton_echo.so").is_file()


def test_no_project_is_told(tmp_path):
    with pytest.raises(HandledError, match=f"no backend project in {tmp_path}.*; nor is it a model repo"):
        run(["serve", str(tmp_path)])


def test_a_model_repository_in_place_of_a_project_is_told(tmp_path):
    (tmp_path / "doubles" / "1").mkdir(parents=True)
    (tmp_path / "doubles" / "1" / "model.py").touch()
    with pytest.raises(HandledError, match="no backend project in") as caught:
        run(["serve", str(tmp_path)])
    assert f"tbsdk serve --compat {tmp_path}" in str(caught.value.next_step)


def test_no_models_are_told_before_anything_is_built(project):
    shutil.rmtree(project.model_repository)
    with pytest.raises(HandledError, match=f"there is no folder {project.model_repository}") as caught:
        run(["serve", str(project.root)])
    assert "write model_repository/echo/config.pbtxt" in str(caught.value.next_step)
    assert not (project.root / "build").exists()


@pytest.mark.parametrize(
    ("flag", "told"),
    [
        ("--http-address=localhost", "tritonserver would listen where nobody reaches it"),
        ("--http-max-input-size=1000000", "has no --http-max-input-size"),
        ("--backend-directory=nowhere", "there is no folder .*nowhere"),
    ],
    ids=["address", "newer", "folder"],
)
def test_what_the_server_would_refuse_is_told_before_anything_is_built(project, flag, told):
    with pytest.raises(HandledError, match=told):
        run(["serve", str(project.root), flag])
    assert not (project.root / "build").exists()


def test_no_server_is_told_before_anything_is_built(project, cache):
    with pytest.raises(HandledError, match="no tritonserver found"):
        run(["serve", str(project.root)])
    assert not (project.root / "build").exists()


def test_a_pasted_command_line_is_served_beside_the_project(serve, project, tmp_path):
    more = tmp_path / "more" / "again"
    (more / "1").mkdir(parents=True)
    (more / "config.pbtxt").write_text('backend: "echo"\n' + ECHO_MODELS["rows"])
    port = choose_ports({"http": None})["http"]
    one = serve(
        *(project.root, "--", "/opt/tritonserver/bin/tritonserver", "--http-port", port, "--log-verb=1"),
        *("--model-repository", more.parent, "--model-store", project.model_repository),
    )
    assert one.wait_for("http  ").endswith(f"127.0.0.1:{port}")
    one.wait_for("  model    rows version 1  READY")
    one.wait_for("  model    again version 1  READY")
    one.wait_for("warning: --model-store is deprecated")


def test_many_models_are_counted_and_three_of_them_called(serve, tmp_path):
    models = {f"m{number:02}": ECHO_MODELS["rows"] for number in range(21)}
    one = serve(write_echo_project(tmp_path / "project", models).root)
    one.wait_for("  models   21 are READY")
    one.wait_for("models/m02/infer")
    one.process.send_signal(signal.SIGINT)
    assert one.end() == 0
    assert sum(line.startswith("curl -s") for line in one.lines) == 3
    assert not any(line.startswith("  model    ") for line in one.lines)


def test_a_server_without_models_says_so(serve, tmp_path):
    one = serve("--model-repository", tmp_path)
    one.wait_for(f"no models: there are none in {tmp_path}")


def test_a_model_py_is_served_as_it_is(serve, tmp_path):
    version = tmp_path / "models" / "doubles" / "1"
    version.mkdir(parents=True)
    (version / "model.py").write_text(DOUBLES)
    (version.parent / "config.pbtxt").write_text('backend: "python"\n' + tensors({"": "TYPE_FP32"}))

    one = serve("--compat", tmp_path / "models")

    one.wait_for("built python_inprocess, starting tritonserver")
    one.wait_for("  model    doubles version 1  READY")
    curl = subprocess.run(
        shlex.split(one.wait_for("curl -s")), capture_output=True, text=True, check=True, timeout=30
    )
    assert json.loads(curl.stdout)["outputs"][0]["data"] == [2.0, 4.0, 6.0]
    one.process.send_signal(signal.SIGINT)
    assert one.end() == 0
    assert one.lines[-1] == "stopped"


@pytest.mark.parametrize(
    ("folder", "advice"),
    [
        (".", "name the folder that holds MODEL/1/model.py"),
        ("repository/doubles", "name the folder that holds it: {}/repository"),
        ("repository/doubles/1", "name the folder that holds it: {}/repository"),
        ("nowhere", "mend the path"),
    ],
)
def test_no_model_py_is_told_before_anything_is_built(tmp_path, folder, advice):
    version = tmp_path / "repository" / "doubles" / "1"
    version.mkdir(parents=True)
    (version / "model.py").touch()

    with pytest.raises(HandledError) as caught:
        run(["serve", "--compat", str(tmp_path / folder), "-o", str(tmp_path / "out")])

    assert advice.format(tmp_path) in str(caught.value.next_step)
    assert not (tmp_path / "out").exists()
