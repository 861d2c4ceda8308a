"""Models of the stock Python backend in the real tritonserver, in process: side by side, broken, reloaded, stopped."""

from __future__ import annotations

import os
import re
import textwrap
import time
import urllib.request
from pathlib import Path

import pytest

from tests.runtime.conftest import FP32, write_model, write_project
from triton_backend_sdk.tools.build import build_backend
from triton_backend_sdk.tools.compat import build_compat
from triton_backend_sdk.tools.server import ServerOptions, TritonServer

#: A model that multiplies by what its helper says, and tells in which process.
MODEL = """
import os

import triton_python_backend_utils as pb_utils
from helper import FACTOR


class TritonPythonModel:
    def initialize(self, args):
        self.name = args["model_name"]

    def execute(self, requests):
        responses = []
        for request in requests:
            array = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()
            parameters = {"pid": os.getpid(), "model": self.name}
            tensor = pb_utils.Tensor("OUT", array * FACTOR)
            responses.append(pb_utils.InferenceResponse([tensor], parameters=parameters))
        return responses

    def finalize(self):
        print(f"FINALIZED {self.name}\\n", end="", flush=True)
"""
OWN = "from triton_backend_sdk import *\n@hookimpl\ndef execute(requests): return [Response({'OUT': r['IN']}) for r in requests]\n"
BROKEN = {
    "no_class": ("x = 1", "TritonPythonModel"),
    "no_module": ("import not_there_at_all", "No module named 'not_there_at_all'"),
    "no_syntax": ("def (", "invalid syntax"),
    "raises": (
        "class TritonPythonModel:\n    def initialize(self, args): raise ValueError('no weights')\n    def execute(self, requests): pass",
        "ValueError: no weights",
    ),
}


def add(repository: Path, name: str, backend: str, factor: int, source: str = MODEL, **config) -> None:
    write_model(repository, name, backend, *FP32, **config)
    (repository / name / "1" / "model.py").write_text(textwrap.dedent(source))
    (repository / name / "1" / "helper.py").write_text(f"FACTOR = {factor}\n")


def ask(server: TritonServer, model: str, *values: float) -> dict:
    body = {"inputs": [{"name": "IN", "shape": [len(values)], "datatype": "FP32", "data": list(values)}]}
    answer: dict = server.request(f"/v2/models/{model}/infer", method="POST", body=body)
    return answer


def answered(server: TritonServer, model: str, *values: float) -> list[float]:
    data: list[float] = ask(server, model, *values)["outputs"][0]["data"]
    return data


#: Puts a folder of its model's in front of all others, and looks there.
LIBRARY = """
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "library"))

import triton_python_backend_utils as pb_utils
from factors import FACTOR


class TritonPythonModel:
    def execute(self, requests):
        from later import ADDED  # imported when the first request comes

        arrays = [pb_utils.get_input_tensor_by_name(request, "IN").as_numpy() for request in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", array * FACTOR + ADDED)]) for array in arrays]
"""


def add_library(repository: Path, name: str, backend: str, factor: int) -> None:
    add(repository, name, backend, 0, LIBRARY)
    library = repository / name / "1" / "library"
    library.mkdir()
    (library / "factors.py").write_text(f"FACTOR = {factor}\n")
    (library / "later.py").write_text(f"ADDED = {factor * 100}\n")


@pytest.fixture(scope="module")
def backends(tmp_path_factory):
    """Give a folder with both names of the ready-made backend, an SDK backend, and one that is a model.py."""
    root = tmp_path_factory.mktemp("compat")
    build_compat(root / "backends")
    build_backend(write_project(root / "projects", "own", OWN), root / "backends")
    (root / "backends" / "is_model_py").mkdir()
    (root / "backends" / "is_model_py" / "model.py").write_text(MODEL)
    (root / "backends" / "is_model_py" / "helper.py").write_text("FACTOR = 7\n")
    return root / "backends"


@pytest.fixture(scope="module")
def server(backends, tmp_path_factory):
    """Serve models of all of them, and broken ones."""
    repository = tmp_path_factory.mktemp("models")
    add(repository, "stand_in", "python", 2)
    add(repository, "by_name", "python_inprocess", 3)
    add_library(repository, "library_one", "python", 2)
    add_library(repository, "library_two", "python", 3)
    write_model(repository, "own", "own", *FP32)
    write_model(repository, "of_its_own_backend", "is_model_py", *FP32)
    bare = repository / "no_config" / "1"
    bare.mkdir(parents=True)
    (bare / "model.py").write_text(BARE)
    for name, (source, _) in BROKEN.items():
        add(repository, name, "python", 1, source)
    write_model(repository, "no_file", "python", *FP32)
    options = ServerOptions(
        exit_on_error=False,
        strict_readiness=False,
        model_control_mode="explicit",
        load_model="*",
        backend_config={"python_inprocess": {"shm-default-byte-size": 1048576}},
    )
    with TritonServer(repository, options, backend_directory=backends) as running:
        yield running


#: Says itself what it takes and gives: Triton sees from the file's name that the backend is python.
BARE = """
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    @staticmethod
    def auto_complete_config(config):
        config.add_input({"name": "IN", "data_type": "TYPE_FP32", "dims": [-1]})
        config.add_output({"name": "OUT", "data_type": "TYPE_FP32", "dims": [-1]})
        config.set_max_batch_size(0)
        return config

    def execute(self, requests):
        return [
            pb_utils.InferenceResponse([pb_utils.Tensor("OUT", request.inputs()[0].as_numpy() + 1)])
            for request in requests
        ]
"""


def test_what_each_backend_says_once(server):
    lines = server.log_lines()
    assert sum("shm-default-byte-size: of no use here" in line for line in lines) == 1
    assert sum("takes the server along" in line for line in lines) == 3  # each backend says it once


def test_all_kinds_are_served_by_one_process(server):
    answers = {name: ask(server, name, 1, 2) for name in ("stand_in", "by_name")}

    assert [answer["outputs"][0]["data"] for answer in answers.values()] == [[2, 4], [3, 6]]
    assert {answer["parameters"]["pid"] for answer in answers.values()} == {server.pid}
    assert answered(server, "own", 1, 2) == [1, 2]
    assert answered(server, "of_its_own_backend", 1, 2) == [7, 14]
    assert answered(server, "no_config", 1, 2) == [2, 3]


def test_helpers_of_equal_names_are_each_models_own(server):
    for _ in range(3):
        assert answered(server, "stand_in", 1) == [2]
        assert answered(server, "by_name", 1) == [3]


def test_what_one_does_to_its_path_is_none_of_the_others_business(server):
    for _ in range(2):
        assert answered(server, "library_one", 1) == [202]
        assert answered(server, "library_two", 1) == [303]
        assert answered(server, "stand_in", 1) == [2]


@pytest.mark.parametrize("name", [*BROKEN, "no_file"])
def test_a_broken_model_says_what_is_wrong(server, name):
    [status] = [model for model in server.models() if model.name == name]

    assert status.state == "UNAVAILABLE"
    expected = BROKEN[name][1] if name in BROKEN else f"Python model file not found in '.*/{name}/1/model.py'"
    assert re.search(expected, status.reason), status.reason
    assert answered(server, "stand_in", 1) == [2]


def test_nothing_is_written_into_the_repository(server):
    ask(server, "stand_in", 1)
    [repository] = server.options.model_repository
    assert not list(repository.rglob("__pycache__"))


def test_statistics_and_metrics_count_it(server):
    before = server.request("/v2/models/by_name/stats")["model_stats"][0]
    ask(server, "by_name", 1)
    # A backend reports what it did after it has answered.
    end = time.monotonic() + 10
    while True:
        after = server.request("/v2/models/by_name/stats")["model_stats"][0]
        if after["execution_count"] > before["execution_count"]:  # what it reports last
            break
        assert time.monotonic() < end

    assert after["inference_count"] == before["inference_count"] + 1
    success = {
        kind: after["inference_stats"][kind] for kind in ("compute_input", "compute_infer", "compute_output")
    }
    assert all(times["count"] == after["execution_count"] for times in success.values())
    with urllib.request.urlopen(server.metrics_url, timeout=10) as page:
        assert (
            f'nv_inference_count{{model="by_name",version="1"}} {after["inference_count"]}'
            in page.read().decode()
        )


def test_a_reload_serves_what_changed(server):
    [repository] = server.options.model_repository
    add(repository, "changing", "python", 5)
    for factor in (5, 6, 7):
        (repository / "changing" / "1" / "helper.py").write_text(f"FACTOR = {factor}\n")  # as long, as old
        os.utime(repository / "changing" / "1" / "helper.py", (1, 1))
        (repository / "changing" / "config.pbtxt").touch()
        server.request("/v2/repository/models/changing/load", method="POST")
        assert answered(server, "changing", 1) == [factor]
    server.request("/v2/repository/models/changing/unload", method="POST")


def test_a_server_that_is_stopped_finalizes_its_models(backends, tmp_path):
    served = {"one": "python", "two": "python", "three": "python_inprocess", "four": "is_model_py"}
    for name, backend in served.items():
        add(tmp_path, name, backend, 2, extra="instance_group { kind: KIND_CPU count: 2 }")
    lines: list[str] = []
    with TritonServer(tmp_path, backend_directory=backends, on_line=lines.append) as running:
        for name in served:
            ask(running, name, 1)
        status = running.stop(60)
    log = "\n".join(lines)

    assert status == 0, log[-3000:]
    assert {name: log.count(f"FINALIZED {name}") for name in served} == dict.fromkeys(served, 2)
    assert not re.search(r"Signal \((?!15)|Segmentation|terminate called", log), log[-3000:]
