"""Streams and coroutines in the real tritonserver: all that was sent arrives, and clients may go away."""

from __future__ import annotations

import contextlib
import json
import queue
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection

import numpy as np
import pytest
import tritonclient.grpc as triton

from tests.runtime.conftest import FP32, write_model, write_project
from triton_backend_sdk.tools.build import build_backend
from triton_backend_sdk.tools.server import ServerOptions, TritonServer

STREAM = '''
import numpy as np
import time

from triton_backend_sdk import Response, hookimpl


@hookimpl
def model_initialize(model):
    model.state.open = model.metrics.gauge("streams_open", "Streams that run")
    model.state.gone = model.metrics.counter("streams_gone_total", "Streams whose client went away")


@hookimpl
def execute(instance, request):
    """As many numbers as IN says, a millisecond apart; then it fails if IN has a second element."""
    state, (count, *fail) = instance.model.state, request["IN"].numpy()
    state.open.increment(1)
    try:
        for number in range(int(count)):
            time.sleep(0.001)
            yield Response({"OUT": np.float32([number])}, parameters={"n": number})
        if fail:
            raise ValueError("half-way")
    except GeneratorExit:
        state.gone.increment(1)
        raise
    finally:
        state.open.decrement(1)
'''
SLEEP = '''
import asyncio

from triton_backend_sdk import Response, hookimpl

running = most = 0


@hookimpl
async def execute(request):
    """Say how many ran at the same time."""
    global running, most
    running += 1
    most = max(most, running)
    await asyncio.sleep(0.3)
    running -= 1
    return Response({"OUT": request["IN"]}, parameters={"most": most})
'''
DECOUPLED = "model_transaction_policy { decoupled: true }\ninstance_group { kind: KIND_CPU count: 4 }"


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[TritonServer]:
    root = tmp_path_factory.mktemp("streaming")
    for name, source, extra in (("counts", STREAM, DECOUPLED), ("sleeps", SLEEP, "")):
        build_backend(write_project(root / "projects", name, source), root / "backends")
        write_model(root / "models", name, name, *FP32, extra=extra)
    options = ServerOptions(model_control_mode="explicit", load_model="*")
    with TritonServer(root / "models", options, backend_directory=root / "backends") as server:
        yield server


@contextlib.contextmanager
def grpc_stream(server, *values):
    """Give ``next_response()``: a result, or the error; cancel what is not over at the end."""
    answers: queue.Queue = queue.Queue()
    tensor = triton.InferInput("IN", [len(values)], "FP32")
    tensor.set_data_from_numpy(np.float32(values))
    over = False

    def next_response():
        nonlocal over
        result, error = answers.get(timeout=20)
        over = error is not None or result.get_response().parameters["triton_final_response"].bool_param
        return error or result

    with triton.InferenceServerClient(server.grpc_url) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        client.async_stream_infer("counts", [tensor], enable_empty_final_response=True)
        try:
            yield next_response
        finally:
            client.stop_stream(cancel_requests=not over)
        assert answers.empty() or not over


def http(server, path, body=None, expect=200):
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(f"http://{server.http_url}{path}", data, timeout=30) as answer:
            status, text = answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read().decode()
    assert status == expect, text
    return text


def metric(server, name):
    with urllib.request.urlopen(server.metrics_url, timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


def wait_for(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    assert condition()


def infer_body(*values):
    return {"inputs": [{"name": "IN", "datatype": "FP32", "shape": [len(values)], "data": values}]}


def test_a_grpc_client_gets_all_responses_and_the_final_one(server):
    with grpc_stream(server, 50) as next_response:
        results = [next_response() for _ in range(51)]
    *responses, last = results
    assert [response.as_numpy("OUT").item() for response in responses] == list(range(50))
    assert [response.get_response().parameters["n"].int64_param for response in responses] == list(range(50))
    finals = [result.get_response().parameters["triton_final_response"].bool_param for result in results]
    assert finals == [False] * 50 + [True]
    assert not last.get_response().outputs


def test_a_stream_of_nothing_is_the_final_flag(server):
    with grpc_stream(server, 0) as next_response:
        result = next_response().get_response()
    assert result.parameters["triton_final_response"].bool_param
    assert not result.outputs


def test_an_error_half_way(server):
    with grpc_stream(server, 2, 1) as next_response:
        assert [next_response().as_numpy("OUT").item() for _ in range(2)] == [0, 1]
        error = next_response()
    assert "ValueError: half-way" in str(error)


def test_streams_over_http(server):
    text = http(server, "/v2/models/counts/generate_stream", {"IN": 3})
    events = [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line]
    assert [(event["OUT"], event["n"]) for event in events] == [(0, 0), (1, 1), (2, 2)]
    text = http(server, "/v2/models/counts/generate_stream", {"IN": [1, 1]})
    assert json.loads(text.split("data: ")[-1]) == {"error": "ValueError: half-way"}


def test_http_without_a_stream_is_told_so(server):
    text = http(server, "/v2/models/counts/infer", infer_body(3), expect=501)
    assert "doesn't support models with decoupled transaction policy" in json.loads(text)["error"]


def test_a_grpc_client_that_goes_away_ends_its_stream(server):
    """Once: Triton 24.10 itself may crash, whatever the backend, where hundreds of gRPC streams are cancelled."""
    gone = metric(server, "streams_gone_total")
    with grpc_stream(server, 1e9) as next_response:
        for count in range(3):
            assert next_response().as_numpy("OUT").item() == count
    wait_for(lambda: metric(server, "streams_open") == 0)
    assert metric(server, "streams_gone_total") == gone + 1


def test_a_hundred_clients_that_go_away_leave_nothing(server):
    gone = metric(server, "streams_gone_total")
    for _ in range(100):
        connection = HTTPConnection(server.http_url, timeout=20)
        connection.request("POST", "/v2/models/counts/generate_stream", json.dumps({"IN": 1e9}))
        assert b'"OUT":0' in connection.getresponse().readline()
        connection.close()
    wait_for(lambda: metric(server, "streams_open") == 0)
    assert metric(server, "streams_gone_total") == gone + 100
    with grpc_stream(server, 3) as next_response:
        assert next_response().as_numpy("OUT").item() == 0
        while next_response().get_response().outputs:
            pass


def test_a_coroutine_serves_fifty_requests_at_the_same_time(server):
    def ask(number):
        answer = json.loads(http(server, "/v2/models/sleeps/infer", infer_body(number)))
        return answer["outputs"][0]["data"], answer["parameters"]["most"]

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(ask, range(50)))
    assert [data for data, _ in answers] == [[number] for number in range(50)]
    assert max(most for _, most in answers) > 40


@pytest.mark.parametrize("model", ["counts", "sleeps"])
def test_the_models_unload_when_all_is_over(server, model):
    http(server, f"/v2/repository/models/{model}/unload", {})

    def unloaded():
        index = json.loads(http(server, "/v2/repository/index", {}))
        return all(entry.get("state") == "UNAVAILABLE" for entry in index if entry["name"] == model)

    wait_for(unloaded)
