"""The stock Python backend and ours in one real server: each model where its config says, calls both ways."""

from __future__ import annotations

import os

import pytest

from benchmarks import parts
from benchmarks.layout import place_backend
from benchmarks.rows import STOCK
from triton_backend_sdk.testing.pytest_plugin import _give_up
from triton_backend_sdk.tools.build import build_backend
from triton_backend_sdk.tools.compat import build_compat, compat_backend
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.installation import find_server
from triton_backend_sdk.tools.server import TritonServer

#: Answers with the processes that a request came through: as many more models as IN says.
MODEL = """
import os

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        self.other = {"stock": "ours", "ours": "stock"}[args["model_name"]]

    def execute(self, requests):
        return [self.answer(pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()) for request in requests]

    def answer(self, depth):
        came = [np.int32([os.getpid()])]
        if depth[0] > 0:
            call = pb_utils.InferenceRequest(
                model_name=self.other, requested_output_names=["OUT"], inputs=[pb_utils.Tensor("IN", depth - 1)]
            )
            response = call.exec()
            if response.has_error():
                raise pb_utils.TritonModelException(response.error().message())
            came.append(pb_utils.get_output_tensor_by_name(response, "OUT").as_numpy())
        return pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.concatenate(came))])
"""
TENSORS = """
input { name: "IN" data_type: TYPE_INT32 dims: [ 1 ] }
output { name: "OUT" data_type: TYPE_INT32 dims: [ -1 ] }
"""
#: What a config may leave to Triton, which asks the backend.
GROUPS = {
    "none": "",
    "count": "instance_group { count: 2 }",
    "kind": "instance_group { kind: KIND_CPU }",
    "several": "instance_group [ { kind: KIND_CPU count: 3 }, { kind: KIND_AUTO } ]",
    "model": "instance_group { kind: KIND_MODEL }",
}


@pytest.fixture(scope="module")
def stock():
    """Give the stock backend's server and the environment of its models."""
    try:
        python = parts.stock_python()
        server = find_server()
    except HandledError as error:
        _give_up(str(error))
    root = server.binary.parent.parent
    libraries = (root / "lib", parts.libpython_directory())
    return root, {
        "PATH": f"{python / 'bin'}:{os.environ['PATH']}",
        "LD_LIBRARY_PATH": ":".join(map(str, libraries)),
    }


def add(repository, name, backend, source=MODEL, extra=""):
    version = repository / name / "1"
    version.mkdir(parents=True)
    (version / "model.py").write_text(source)
    (version.parent / "config.pbtxt").write_text(f'backend: "{backend}"\n{TENSORS}{extra}')


def came(server, model, depth):
    body = {"inputs": [{"name": "IN", "shape": [1], "datatype": "INT32", "data": [depth]}]}
    return server.request(f"/v2/models/{model}/infer", method="POST", body=body)["outputs"][0]["data"]


def test_models_of_both_call_each_other(stock, tmp_path):
    root, env = stock
    place_backend(STOCK, "identity", tmp_path / "backends", root)
    build_backend(compat_backend(), tmp_path / "backends")
    for name, backend in (("stock", "python"), ("ours", "python_inprocess")):
        add(tmp_path / "models", name, backend, extra="instance_group { kind: KIND_CPU count: 2 }")

    with TritonServer(tmp_path / "models", backend_directory=tmp_path / "backends", env=env) as server:
        pid = server.pid
        assert [process == pid for process in came(server, "ours", 2)] == [True, False, True]
        assert [process == pid for process in came(server, "stock", 2)] == [False, True, False]
        assert server.stop(60) == 0


def test_triton_completes_a_config_as_it_does_for_the_stock_backend(stock, tmp_path):
    root, env = stock
    place_backend(STOCK, "identity", tmp_path / "stock", root)
    build_compat(tmp_path / "ours")
    for name, group in GROUPS.items():
        add(
            tmp_path / "models",
            name,
            "python",
            "class TritonPythonModel:\n    def execute(self, requests): pass\n",
            group,
        )

    def configs(backends, env):
        with TritonServer(tmp_path / "models", backend_directory=backends, env=env) as server:
            return {name: server.request(f"/v2/models/{name}/config") for name in GROUPS}

    assert configs(tmp_path / "ours", {}) == configs(tmp_path / "stock", env)
