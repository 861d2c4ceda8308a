"""Against a real server whose backend gives every IN... back as OUT...; see conftest.py."""

import json

import numpy as np
import pytest

from tests.runtime.conftest import FP32, write_model, write_project
from triton_backend_sdk.cli import run
from triton_backend_sdk.tools import client_stream
from triton_backend_sdk.tools.build import build_backend
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.server import TritonServer


@pytest.fixture(params=["http", "grpc"])
def infer(request, echo_server, capsys):
    """Give ``infer(*words)``: stdout and stderr of ``tbsdk infer``."""
    url = echo_server.http_url if request.param == "http" else echo_server.grpc_url

    def call(*words):
        assert run(["infer", *words, "--url", url, "--protocol", request.param]) == 0
        return capsys.readouterr()

    return call


def outputs(captured):
    return json.loads(captured.out)["outputs"]


def test_a_table(infer):
    out, err = infer("rows", "-i", "IN=1,2.5,3", "--id", "mine")
    head, row = out.splitlines()
    assert head.split() == ["output", "datatype", "shape", "values"]
    assert row.split(maxsplit=3) == ["OUT", "FP32", "1x3", "[[1. , 2.5, 3. ]]"]
    assert "rows version 1, id mine: " in err
    assert " ms over " in err


def test_long_values_are_shortened(infer):
    assert "..., " in infer("rows", "-i", f"IN={list(range(1000))}").out


def test_json(infer):
    captured = infer(
        "rows", "-i", "IN=[[1,2],[3,4]]", "--json", "--id", "mine", "--param", "n=1", "--param", "t=x"
    )
    document = json.loads(captured.out)
    assert document.pop("latency_ms") > 0
    assert document == {
        "model_name": "rows",
        "model_version": "1",
        "id": "mine",
        "outputs": {"OUT": {"datatype": "FP32", "shape": [2, 2], "data": [[1.0, 2.0], [3.0, 4.0]]}},
    }


def test_what_the_protocol_itself_has_is_a_parameter_too(infer):
    words = [
        "--param=timeout=9000000",
        "--param=priority=0",
        "--param=sequence_id=3",
        "--param=sequence_end=true",
    ]
    assert outputs(infer("rows", "-i", "IN=1", "--json", *words))["OUT"]["data"] == [[1.0]]


def test_json_is_strict(infer):
    captured = infer("rows", "-i", "IN=NaN,Infinity,-Infinity", "--json")
    assert outputs(captured)["OUT"]["data"] == [["NaN", "Infinity", "-Infinity"]]


def test_texts(infer):
    assert outputs(infer("texts", "-i", "IN=hello, world", "--json"))["OUT"]["data"] == [["hello, world"]]
    two = infer("texts", "-i", 'IN=[["a"], ["\u00e9"]]', "--json")
    assert outputs(two)["OUT"] == {"datatype": "BYTES", "shape": [2, 1], "data": [["a"], ["\u00e9"]]}
    assert "[['a']]" in infer("texts", "-i", "IN=a").out


def test_two_inputs_and_a_file(infer, tmp_path):
    np.save(tmp_path / "a.npy", np.array([3, 4], np.int32))
    captured = infer("pair", "-i", "IN0=1,2", "-i", f"IN1=@{tmp_path}/a.npy", "--json")
    assert {name: row["data"] for name, row in outputs(captured).items()} == {"OUT0": [1, 2], "OUT1": [3, 4]}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rows"], r"no value for input IN of model rows; its inputs are: IN \(FP32 \[-1, -1\]\)"),
        (["rows", "-i", "X=1"], r"model rows has no input X; its inputs are: IN \(FP32"),
        (["rows", "-i", "IN"], "-i IN: expected NAME=VALUE"),
        (["rows", "-i", "IN=a"], "input IN got 'a', .* expects FP32"),
        (["pair", "-i", "IN0=1", "-i", "IN1=1,2"], r"input IN0 has shape \[1\], .* INT32 \[2\]"),
        (["none", "-i", "IN=1"], "no model 'none' at"),
        (["rows", "-i", "IN=1", "--param", "fail=1"], "the server answered .*asked to fail"),
    ],
)
def test_what_is_wrong_is_told(infer, words, message):
    with pytest.raises(HandledError, match=message):
        infer(*words)


STREAM = """
import numpy as np
from triton_backend_sdk import Response, hookimpl

@hookimpl
def execute(request):
    for number in range(int(request["IN"].numpy()[0])):
        yield Response({"OUT": np.float32([number])}, parameters={"n": number, "half": number / 2})
    if "fail" in request.parameters:
        raise ValueError("half-way")
    if "own" in request.parameters:
        yield Response(parameters={"timeout": request.timeout_us, "id": request.correlation_id})
    if "say" in request.parameters:
        yield Response(parameters={"why": "end"})
"""


@pytest.fixture(scope="module")
def streams(tmp_path_factory):
    root = tmp_path_factory.mktemp("streams")
    build_backend(write_project(root / "projects", "stream", STREAM), root / "backends")
    write_model(
        root / "models", "stream", "stream", *FP32, extra="model_transaction_policy { decoupled: true }"
    )
    with TritonServer(root / "models", backend_directory=root / "backends") as server:
        yield server


@pytest.fixture
def stream(streams, capsys):
    def call(*words, protocol="grpc"):
        url = streams.grpc_url if protocol == "grpc" else streams.http_url
        assert run(["infer", "stream", *words, "--url", url, "--protocol", protocol]) == 0
        return capsys.readouterr()

    return call


def test_a_stream_is_printed_line_by_line(stream):
    out, err = stream("-i", "IN=2", "--param", "say=1")
    assert [line.split() for line in out.splitlines()] == [
        ["output", "datatype", "shape", "values"],
        ["OUT", "FP32", "1", "[0.]", "half=0.0", "n=0"],
        ["OUT", "FP32", "1", "[1.]", "half=0.5", "n=1"],
        ["-", 'why="end"'],
    ]
    assert "stream: 3 response(s) in " in err
    assert stream("-i", "IN=0") == ("", f"stream: 0 response(s) over grpc from {err.split()[-1]}\n")


def test_a_stream_as_json_is_a_document_per_line(stream):
    documents = [json.loads(line) for line in stream("-i", "IN=2", "--json").out.splitlines()]
    assert [document["outputs"]["OUT"]["data"] for document in documents] == [[0], [1]]
    assert [document["parameters"] for document in documents] == [{"n": 0, "half": 0}, {"n": 1, "half": 0.5}]


def test_a_stream_has_the_parameters_of_the_protocol(stream):
    out = stream("-i", "IN=0", "--param=own=1", "--param=timeout=9000000", "--param=sequence_id=abc").out
    assert 'id="abc"  timeout=9000000' in out


def test_a_stream_that_fails_half_way_is_told(stream, capsys):
    with pytest.raises(HandledError, match=r"the server answered .*ValueError: half-way"):
        stream("-i", "IN=1", "--param", "fail=1")
    assert "[0.]" in capsys.readouterr().out


def test_a_stream_takes_grpc(stream):
    with pytest.raises(HandledError, match="model stream is decoupled") as caught:
        stream("-i", "IN=1", protocol="http")
    assert caught.value.next_step == "add --protocol grpc"


def test_who_leaves_a_stream_cancels_it_and_who_waits_too_long_is_told(streams):
    responses = client_stream.stream(streams.grpc_url, "stream", {"IN": np.float32([100_000])})
    assert next(responses).outputs["OUT"].tolist() == [0]
    responses.close()
    with pytest.raises(HandledError, match=r"no answer from .* over grpc within 1e-06 s"):
        list(client_stream.stream(streams.grpc_url, "stream", {"IN": np.float32([100_000])}, timeout=1e-6))
