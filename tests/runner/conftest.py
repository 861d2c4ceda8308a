"""A repository of models that a Runner meets, and Runners on it: over gRPC, over HTTP and in this process."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.runtime.conftest import write_model, write_project
from triton_backend_sdk.dtypes import DataType
from triton_backend_sdk.runner import Runner
from triton_backend_sdk.tools.build import build_backend

RELAY = """
import json
import os
import time

import numpy as np

from triton_backend_sdk import InvalidArgError, Response, hookimpl


@hookimpl
def execute(instance, requests):
    kind = instance.model.parameters.get_str("kind", "echo")
    return [KINDS[kind](instance, request) for request in requests]


def echo(instance, request):
    said = request.parameters
    if "crash" in said:
        os.kill(os.getpid(), 9)
    if "fail" in said:
        return InvalidArgError("asked to fail")
    time.sleep(said.get("sleep", 0))
    made = {"OUT" + name[2:]: tensor for name, tensor in request.items()}
    left_out = [name for name in request.requested_outputs if name not in made]
    return Response(made | dict.fromkeys(left_out, np.zeros(0, np.float32)))


def many(instance, request):
    for number in range(request["IN"].tolist()[0]):
        time.sleep(request.parameters.get("sleep", 0))
        if "crash" in request.parameters:
            os.kill(os.getpid(), 9)
        yield Response({"OUT": np.int32([number])}, parameters={"at": number})
    if "fail" in request.parameters:
        raise InvalidArgError("asked to fail")


def grow(instance, request):
    return Response({"OUT": np.full(request["IN"].tolist()[0], 7, np.float32)})


def version(instance, request):
    return Response({"OUT": np.int32([instance.model.version])})


def about(instance, request):
    told = {
        "id": request.id,
        "parameters": dict(request.parameters),
        "sequence": request.correlation_id,
        "flags": int(request.flags),
        "timeout": request.timeout_us,
    }
    return Response({"TOLD": np.array([json.dumps(told)], object)})


KINDS = {"echo": echo, "many": many, "grow": grow, "version": version, "about": about}
"""


def write_repository(root: Path) -> Path:
    """Write the models; the folder of backends lies beside them."""
    build_backend(write_project(root / "projects", "relay", RELAY), root / "backends")
    models = root / "models"
    ins, outs = {"IN": ("FP32", [-1])}, {"OUT": ("FP32", [-1])}

    def model(name, inputs=ins, outputs=outs, kind="echo", **more):
        write_model(models, name, "relay", inputs, outputs, parameters={"kind": kind}, **more)

    def pair(prefix, size=2):
        return {f"{prefix}{at}": ("FP32", [size]) for at in range(2)}

    model("rows", batch=8)
    for name in ("flat", "counted", "changing"):
        model(name)
    model("pair", pair("IN"), pair("OUT"))
    model("texts", {"IN": ("BYTES", [1])}, {"OUT": ("BYTES", [1])}, batch=8)
    every = [name for name in DataType if name is not DataType.BF16]
    model(
        "every", *({f"{side}_{name.value}": (name.value, [-1]) for name in every} for side in ("IN", "OUT"))
    )
    model("maybe", {"IN0": ("FP32", [-1]), "IN1": ("FP32", [-1], "optional: true")}, pair("OUT", -1))
    model("timed", {"timeout": ("FP32", [-1])}, {"OUTmeout": ("FP32", [-1])})
    names = {name: ("FP32", [-1]) for name in ("self", "version")}
    model("names", names, {f"OUT{name[2:]}": row for name, row in names.items()})
    decoupled = "model_transaction_policy { decoupled: true }"
    model("many", {"IN": ("INT32", [1])}, {"OUT": ("INT32", [1])}, "many", extra=decoupled)
    model("grow", {"IN": ("INT32", [1])}, outs, "grow")
    for name in ("my-model.v2", "run", "metrics"):
        model(name)
    model(
        "versions",
        {"IN": ("INT32", [1])},
        {"OUT": ("INT32", [1])},
        "version",
        extra="version_policy { all {} }",
    )
    (models / "versions" / "3").mkdir()
    about = {"IN": ("INT32", [1])}, {"TOLD": ("BYTES", [1])}
    model(
        "about",
        *about,
        "about",
        extra="dynamic_batching { priority_levels: 3 default_priority_level: 2 }",
        batch=0,
    )
    model("sequence", *about, "about", extra="sequence_batching { direct {} }")
    return models


@pytest.fixture(scope="session")
def repository(tmp_path_factory):
    return write_repository(tmp_path_factory.mktemp("runner"))


@pytest.fixture(scope="session")
def backends(repository):
    return repository.parent / "backends"


@pytest.fixture(scope="session")
def few(backends):
    """Options for two models only: such a server is there in half the time."""
    return {"backend_directory": backends, "load_model": ["flat", "many"]}


@pytest.fixture(scope="session")
def started(repository, backends):
    """A Runner that started a server, and speaks gRPC to it."""
    with Runner(
        repository,
        backend_directory=backends,
        name="mine",
        http_header_forward_pattern="(?i)x-mine",
        grpc_header_forward_pattern="(?i)x-mine",
    ) as runner:
        yield runner


@pytest.fixture(scope="session")
def over_http(started):
    runner = Runner(url=f"http://{started.server.http_url}")
    yield runner
    runner.close()


@pytest.fixture(scope="session")
def in_process(repository, backends):
    with Runner(repository, backend_directory=backends, in_process=True) as runner:
        yield runner


@pytest.fixture(params=["grpc", "http", "in_process"])
def runner(request):
    """A Runner of each kind."""
    fixture = {"grpc": "started", "http": "over_http"}.get(request.param, request.param)
    return request.getfixturevalue(fixture)


@pytest.fixture(params=["grpc", "http"])
def remote(request):
    """A Runner of each protocol, on the same server."""
    return request.getfixturevalue({"grpc": "started", "http": "over_http"}[request.param])


def wait_for(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
