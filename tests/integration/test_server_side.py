"""What runs in the server is the runtime: the tools around it are not there to be imported."""

from __future__ import annotations

import importlib.util
import json
import pkgutil
import urllib.request

import triton_backend_sdk
from tests.runtime.conftest import FP32, write_model, write_project
from triton_backend_sdk.tools.build import build_backend
from triton_backend_sdk.tools.server import TritonServer

LOOK = """
import importlib
import json

from triton_backend_sdk import Response, hookimpl

NAMES = json.loads('{names}')


def is_there(name):
    try:
        importlib.import_module("triton_backend_sdk." + name)
    except ModuleNotFoundError as error:
        return error.name != "triton_backend_sdk." + name.partition(".")[0]
    return True


@hookimpl
def execute(requests):
    found = json.dumps([name for name in NAMES if is_there(name)])
    return [Response({{"OUT": request["IN"]}}, parameters={{"found": found}}) for request in requests]
"""
TOOLS = ("cli", "runner", "testing", "tools")


def test_the_tools_are_not_importable_in_the_server(tmp_path):
    names = [
        module.name.removeprefix("triton_backend_sdk.")
        for package in TOOLS
        for module in pkgutil.walk_packages(
            importlib.util.find_spec(f"triton_backend_sdk.{package}").submodule_search_locations,
            f"triton_backend_sdk.{package}.",
        )
    ]
    assert len(names) > 100
    assert {module.name for module in pkgutil.iter_modules(triton_backend_sdk.__path__)} > {*TOOLS}
    project = write_project(tmp_path, "look", LOOK.format(names=json.dumps([*TOOLS, *names, "tensor"])))
    build_backend(project, tmp_path / "backends")
    write_model(tmp_path / "models", "look", "look", *FP32)

    with TritonServer(tmp_path / "models", backend_directory=tmp_path / "backends") as server:
        body = {"inputs": [{"name": "IN", "datatype": "FP32", "shape": [1], "data": [1]}]}
        request = urllib.request.Request(
            f"http://{server.http_url}/v2/models/look/infer", json.dumps(body).encode()
        )
        with urllib.request.urlopen(request, timeout=20) as response:
            answer = json.load(response)

    assert json.loads(answer["parameters"]["found"]) == ["tensor"]
