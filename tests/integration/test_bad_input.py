"""Bad plugins and bad requests in the real tritonserver: a clear error, nothing lost, the server goes on."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.runtime.conftest import FP32, write_model, write_project
from triton_backend_sdk.tools.build import build_backend
from triton_backend_sdk.tools.server import ServerOptions, TritonServer

MISBEHAVE = '''
import os
import sys

import numpy as np

from triton_backend_sdk import NotFoundError, Response, hookimpl

once = Response()


class NoMemory:
    """Memory that is gone."""

    def __dlpack__(self, **kwargs):
        view = memoryview(bytearray(8))
        view.release()
        return view.tobytes()


def misbehave(how, request):
    x = request["IN"].numpy()
    if how == "unknown input":
        request["NOPE"]
    if how == "raise":
        raise ZeroDivisionError("of all things")
    if how == "exit":
        sys.exit(3)
    if how == "error object":
        return [NotFoundError("not here")]
    if how == "too few":
        return []
    if how == "too many":
        return [Response({"OUT": x}), Response({"OUT": x})]
    if how == "not a list":
        return Response({"OUT": x})
    if how == "twice":
        once.outputs = {"OUT": x.copy()}
        once.sent = True
        return [once]
    if how == "write to input":
        x[0] = 1
    outputs = {
        "unknown output": {"OTHER": x},
        "wrong dtype": {"OUT": x.astype(np.int8)},
        "wrong shape": {"OUT": x.reshape(1, -1)},
        "no memory": {"OUT": NoMemory()},
        "missing output": {},
    }
    return [Response(outputs.get(how, {"OUT": x}))]


@hookimpl
def execute(requests):
    how = requests[0].parameters.get("how", "")
    return misbehave(how, requests[0])
'''
GOOD = "from triton_backend_sdk import *\n@hookimpl\ndef execute(requests): return [Response({'OUT': r['IN']}) for r in requests]\n"

#: What the plugin does, the HTTP status, and what the client reads.
CASES = {
    "unknown input": (404, "the request has no input 'NOPE'; it has ('IN',)"),
    "raise": (500, "ZeroDivisionError: of all things"),
    "exit": (500, "SystemExit: 3"),
    "error object": (404, "not here"),
    "too few": (500, "execute returned 0 responses for 1 requests"),
    "too many": (500, "execute returned 2 responses for 1 requests"),
    "not a list": (500, "execute returned Response; return a list"),
    "twice": (500, "this Response already answered a request"),
    "write to input": (400, "ValueError: assignment destination is read-only"),
    "unknown output": (500, "the model's config has no output 'OTHER'; it has 'OUT'"),
    "wrong dtype": (500, "output 'OUT' is INT8, but the config says FP32"),
    "wrong shape": (500, "output 'OUT' has shape [1, 2], but the config says [-1]"),
    "no memory": (500, "output 'OUT': operation forbidden on released memoryview object"),
    "missing output": (500, "the Response lacks output 'OUT'"),
}


def call(server: TritonServer, model: str, how: str = "", **body) -> tuple[int, dict]:
    tensor = {"name": "IN", "datatype": "FP32", "shape": [2], "data": [1, 2], **body}
    payload = {"inputs": [tensor], "parameters": {"how": how} if how else {}}
    request = urllib.request.Request(
        f"http://{server.http_url}/v2/models/{model}/infer", json.dumps(payload).encode()
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def control(server: TritonServer, model: str, action: str) -> tuple[int, str]:
    request = urllib.request.Request(f"http://{server.http_url}/v2/repository/models/{model}/{action}", b"{}")
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, ""
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)["error"]


def says(server: TritonServer, text: str) -> bool:
    """Wait a moment for a log line: it comes through a pipe, the answer through a socket."""
    deadline = time.monotonic() + 5
    while text not in server.log_text() and time.monotonic() < deadline:
        time.sleep(0.01)
    return text in server.log_text()


def works(server: TritonServer, model: str) -> bool:
    status, answer = call(server, model)
    return status == 200 and answer["outputs"][0]["data"] == [1, 2]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("bad_input")
    for name, source in {"misbehaving": MISBEHAVE, "good": GOOD}.items():
        build_backend(write_project(root / "projects", name, source), root / "backends")
        write_model(root / "models", name, name, *FP32)
    return root


@pytest.fixture(scope="module")
def server(place):
    options = ServerOptions(model_control_mode="explicit", load_model=["good", "misbehaving"])
    with TritonServer(place / "models", options, backend_directory=place / "backends") as running:
        yield running
        assert works(running, "good")
    assert running.returncode == 0


@pytest.mark.parametrize("how", CASES)
def test_the_client_reads_why_and_the_next_request_works(server, how):
    status, message = CASES[how]
    got, answer = call(server, "misbehaving", how)
    assert message in answer["error"]
    assert got == status
    assert works(server, "misbehaving")
    if how in ("unknown input", "raise", "exit", "write to input"):
        assert says(server, "Traceback (most recent call last)")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"name": "OTHER"}, "unexpected inference input 'OTHER'"),
        ({"datatype": "INT32"}, "data-type is 'INT32', but model 'misbehaving' expects 'FP32'"),
        ({"shape": [1, 2]}, "unexpected shape for input 'IN'"),
        ({"shape": [3]}, ""),
    ],
)
def test_a_request_that_contradicts_the_config_never_reaches_the_plugin(server, body, message):
    status, answer = call(server, "misbehaving", **body)
    assert status in (400, 500)  # Triton's own words and codes
    assert message in answer["error"]
    assert works(server, "misbehaving")


LOADS = {
    "import_fails": ("import no_such_module", "No module named 'no_such_module'"),
    "no_hook": ("def execute(requests): ...", "no execute hook found in"),
    "bad_signature": ("from triton_backend_sdk import *\n@hookimpl\ndef execute(requests, extra): ...", "yours takes (requests, extra)"),
    "initialize_fails": (GOOD + "\n@hookimpl\ndef initialize(): raise UnavailableError('the licence has expired')", "the licence has expired"),
}  # fmt: skip


@pytest.mark.parametrize("name", LOADS)
def test_a_plugin_that_does_not_load_says_why_and_loads_when_mended(server, place, name):
    source, message = LOADS[name]
    project = write_project(place / "projects", name, source)
    build_backend(project, place / "backends")
    write_model(place / "models", name, name, *FP32)
    status, error = control(server, name, "load")
    assert status == 400
    assert message in error
    assert says(server, "Traceback (most recent call last)")
    assert works(server, "good")
    (project.package / "plugin.py").write_text(GOOD)
    build_backend(project, place / "backends")
    assert control(server, name, "load") == (200, "")
    assert works(server, name)


def edit_conf(backend: Path, **settings: str) -> None:
    conf = backend / "tbsdk.conf"
    lines = dict(line.split("=", 1) for line in conf.read_text().splitlines())
    conf.write_text("".join(f"{key}={value}\n" for key, value in {**lines, **settings}.items()))


def test_a_backend_for_another_python_is_refused_by_name_and_the_first_goes_on(server, place):
    project = write_project(place / "projects", "other_python", GOOD)
    edit_conf(build_backend(project, place / "backends"), python="3.7")
    write_model(place / "models", "other_python", "other_python", *FP32)
    status, error = control(server, "other_python", "load")
    assert status == 400
    assert "was built for Python 3.7, but this process already runs Python 3." in error
    assert "-m triton_backend_sdk build" in error
    assert works(server, "good")


def test_a_backend_of_another_sdk_is_refused_by_version(server, place):
    project = write_project(place / "projects", "other_sdk", GOOD)
    edit_conf(build_backend(project, place / "backends"), fingerprint="9.9.9+abc")
    write_model(place / "models", "other_sdk", "other_sdk", *FP32)
    status, error = control(server, "other_sdk", "load")
    assert status == 400
    assert "other_sdk was built with triton-backend-sdk 9.9.9+abc, but this server already runs" in error
    assert works(server, "good")


@pytest.mark.parametrize(
    ("settings", "removed", "messages"),
    [
        ({"libpython": "libpython3.99.so.1.0", "libdir": "/nowhere"}, None, ["needs libpython3.99.so.1.0, which is neither at /nowhere/", "apt-get install libpython3"]),
        ({}, "tbsdk.conf", ["tbsdk.conf is missing: the backend directory is incomplete; run `tbsdk build`"]),
        ({"native": "nowhere.so"}, None, ["cannot open the native module", "run `tbsdk build` again"]),
    ],
)  # fmt: skip
def test_a_backend_that_cannot_start_python_says_what_to_install(
    place, tmp_path, settings, removed, messages
):
    backend = build_backend(write_project(tmp_path / "projects", "lonely", GOOD), tmp_path / "backends")
    write_model(tmp_path / "models", "lonely", "lonely", *FP32)
    if removed:
        (backend / removed).unlink()
    else:
        edit_conf(backend, **settings)
    with TritonServer(
        tmp_path / "models", backend_directory=tmp_path / "backends", model_control_mode="explicit"
    ) as server:
        status, error = control(server, "lonely", "load")
        assert status == 400
        for message in messages:
            assert message in error
        build_backend(write_project(tmp_path / "again", "lonely", GOOD), tmp_path / "backends")
        assert control(server, "lonely", "load") == (200, "")
        assert works(server, "lonely")
    assert server.returncode == 0


def test_atexit_runs_and_prints_show_when_the_server_stops(tmp_path):
    source = (
        GOOD
        + "import atexit, sys, threading\nprint('imported with', sys.argv, threading.main_thread().is_alive())\natexit.register(print, 'goodbye from atexit')\n"
    )
    build_backend(write_project(tmp_path / "projects", "tidy", source), tmp_path / "backends")
    write_model(tmp_path / "models", "tidy", "tidy", *FP32)
    with TritonServer(tmp_path / "models", backend_directory=tmp_path / "backends") as server:
        assert "imported with [''] True" in server.log_text()
        assert works(server, "tidy")
    assert server.returncode == 0
    assert "goodbye from atexit" in server.log_text()


def test_a_python_that_lacks_the_runtimes_packages_is_named_with_what_to_install(tmp_path):
    backend = build_backend(write_project(tmp_path / "projects", "bare", GOOD), tmp_path / "backends")
    write_model(tmp_path / "models", "bare", "bare", *FP32)
    bare = tmp_path / "bare-venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare], check=True, timeout=60)
    edit_conf(backend, executable=str(bare / "bin" / "python"))
    with TritonServer(
        tmp_path / "models", backend_directory=tmp_path / "backends", model_control_mode="explicit"
    ) as server:
        status, error = control(server, "bare", "load")
        assert status == 400
        assert "No module named" in error
        assert f"of {bare}" in error
        assert "pip install cffi pluggy numpy" in error
    assert server.returncode == 0
