"""The server's own methods: all of them on both protocols, each with its twin for coroutines."""

from __future__ import annotations

import asyncio
import base64
import inspect
import os
from pathlib import Path

import numpy as np
import pytest

from triton_backend_sdk.errors import InvalidArgError, TritonError
from triton_backend_sdk.runner import NotSupportedError
from triton_backend_sdk.runner.client_methods import ClientMethods
from triton_backend_sdk.runner.grpc_operations import RPCS
from triton_backend_sdk.runner.http_operations import REQUESTS

ROW = np.arange(3, dtype=np.float32)
#: What BentoML's Runner exposed.
METHODS = {
    "is_server_live", "is_server_ready", "is_model_ready", "get_server_metadata", "get_model_metadata",
    "get_model_config", "get_model_repository_index", "load_model", "unload_model", "get_inference_statistics",
    "update_trace_settings", "get_trace_settings", "update_log_settings", "get_log_settings",
    "get_system_shared_memory_status", "register_system_shared_memory", "unregister_system_shared_memory",
    "get_cuda_shared_memory_status", "register_cuda_shared_memory", "unregister_cuda_shared_memory",
    "infer", "stream_infer",
}  # fmt: skip


@pytest.fixture(params=["sync", "aio"])
def do(request, remote):
    """Call a client method, in both ways: ``do("load_model", "m")``."""

    def call(method, *arguments, **named):
        if request.param == "sync":
            return getattr(remote, method)(*arguments, **named)

        async def wait():
            return await getattr(remote.aio, method)(*arguments, **named)

        return asyncio.run(wait())

    return call


def test_all_22_are_there(started):
    assert len(METHODS) == 22
    for method in METHODS:
        assert callable(getattr(type(started), method)), method
        assert callable(getattr(type(started.aio), method)), method
    assert set(RPCS) == set(REQUESTS) == METHODS - {"infer", "stream_infer"}


def test_the_arguments_are_tritonclients():
    import tritonclient.grpc.aio
    import tritonclient.http.aio

    for module in (tritonclient.grpc.aio, tritonclient.http.aio):
        for method in METHODS - {"stream_infer"}:
            theirs = inspect.signature(getattr(module.InferenceServerClient, method)).parameters
            ours = inspect.signature(getattr(ClientMethods, method)).parameters
            tail = {"headers", "query_params", "client_timeout", "as_json"} if "tail" in ours else set()
            assert [name for name in theirs if name not in ours and name not in tail] == [], method


def test_health(do):
    assert do("is_server_live") is True
    assert do("is_server_ready") is True
    assert do("is_model_ready", "rows") is True
    assert do("is_model_ready", "rows", "1") is True
    assert do("is_model_ready", "nosuch") is False
    assert do("is_model_ready", "rows", "9") is False


def test_metadata(do):
    assert do("get_server_metadata")["name"] == "triton"
    found = do("get_model_metadata", "rows")
    assert found["inputs"] == [{"name": "IN", "datatype": "FP32", "shape": [-1, -1]}]
    assert do("get_model_metadata", "versions")["versions"] == ["1", "3"]
    assert do("get_model_metadata", "versions", "1")["versions"] == ["1"]
    config = do("get_model_config", "rows")
    assert (config["max_batch_size"], config["input"][0]["dims"]) == (8, [-1])
    index = do("get_model_repository_index")
    assert {"name": "rows", "version": "1", "state": "READY"} in index


def test_both_protocols_say_the_same(started, over_http):
    for method, *arguments in (
        ("get_server_metadata",), ("get_model_repository_index",), ("get_trace_settings",), ("get_log_settings",),
        ("get_model_metadata", "every"), ("get_model_config", "about"), ("get_inference_statistics", "rows"),
        ("get_trace_settings", "rows"), ("get_system_shared_memory_status",),
    ):  # fmt: skip
        assert getattr(started, method)(*arguments) == getattr(over_http, method)(*arguments), method


def test_load_and_unload(do):
    do("unload_model", "grow")
    assert do("is_model_ready", "grow") is False
    do("load_model", "grow")
    assert do("is_model_ready", "grow") is True
    with pytest.raises(TritonError, match="nosuch"):
        do("load_model", "nosuch")


def test_load_with_a_config_and_files(do, repository):
    config = '{"backend": "relay", "input": [{"name": "IN", "data_type": "TYPE_FP32", "dims": [-1]}], ' \
        '"output": [{"name": "OUT", "data_type": "TYPE_FP32", "dims": [-1]}]}'  # fmt: skip
    do("load_model", "from-files", config=config, files={"file:1/data.txt": b"\x00text"})
    assert do("infer", "from-files", {"IN": ROW})["OUT"].tolist() == ROW.tolist()
    do("unload_model", "from-files")


def test_statistics(do):
    do("infer", "rows", {"IN": ROW[None]})
    [row] = do("get_inference_statistics", "rows")["model_stats"]
    assert row["inference_count"] >= 1
    assert isinstance(row["inference_stats"]["success"]["ns"], int)
    assert len(do("get_inference_statistics")["model_stats"]) > 5


def test_trace_settings(do):
    before = do("get_trace_settings")
    found = do("update_trace_settings", settings={"trace_rate": "7", "trace_level": ["OFF"]})
    assert (found["trace_rate"], found["trace_level"]) == ("7", ["OFF"])
    assert do("update_trace_settings", "rows", {"trace_rate": 9})["trace_rate"] == "9"
    assert do("get_trace_settings", "rows")["trace_rate"] == "9"
    assert do("update_trace_settings", "rows", {"trace_rate": None})["trace_rate"] == "7"
    assert do("update_trace_settings", settings={"trace_rate": None, "trace_level": None}) == before


def test_log_settings(do):
    assert do("update_log_settings", {"log_verbose_level": 1})["log_verbose_level"] == 1
    assert do("update_log_settings", {"log_verbose_level": 0, "log_warning": True}) == do("get_log_settings")


def test_system_shared_memory(do):
    file = Path("/dev/shm") / f"tbsdk-test-{os.getpid()}"
    file.write_bytes(bytes(256))
    try:
        do("register_system_shared_memory", "mine", f"/{file.name}", 256)
        [row] = do("get_system_shared_memory_status", "mine")
        assert row == {"name": "mine", "key": f"/{file.name}", "offset": 0, "byte_size": 256}
        assert row in do("get_system_shared_memory_status")
        do("unregister_system_shared_memory", "mine")
        assert do("get_system_shared_memory_status") == []
        do("unregister_system_shared_memory")
    finally:
        file.unlink()


def test_cuda_shared_memory(do):
    assert do("get_cuda_shared_memory_status") == []
    with pytest.raises(TritonError, match=r"register"):  # no such memory, and no GPU
        do("register_cuda_shared_memory", "mine", base64.b64encode(bytes(64)), 0, 64)
    do("unregister_cuda_shared_memory", "mine")


def test_infer_with_tritonclients_own_classes(remote, started):
    import tritonclient.grpc
    import tritonclient.http

    for api in (tritonclient.grpc, tritonclient.http):
        tensor = api.InferInput("IN", [1, 3], "FP32")
        tensor.set_data_from_numpy(ROW[None])
        result = remote.infer("rows", [tensor], outputs=[api.InferRequestedOutput("OUT")], request_id="x")
        assert (result["OUT"].tolist(), result.id) == ([ROW.tolist()], "x")
        best = remote.infer("rows", [tensor], outputs=[api.InferRequestedOutput("OUT", class_count=1)])
        assert best["OUT"].tolist() == [[b"2.000000:2"]]
        text = api.InferInput("IN", [1, 1], "BYTES")
        text.set_data_from_numpy(np.array([["a"]], object))
        assert remote.infer("texts", [text])["OUT"].tolist() == [[b"a"]]
    plain = tritonclient.http.InferInput("IN", [1, 3], "FP32")
    plain.set_data_from_numpy(ROW[None], binary_data=False)
    assert remote.infer("rows", [plain], model_version="1")["OUT"].tolist() == [ROW.tolist()]
    with pytest.raises(
        TypeError, match="a mapping of names to arrays, or tritonclient's InferInputs, not ndarray"
    ):
        remote.infer("rows", [ROW])
    with pytest.raises(TypeError, match=r"outputs takes a list of names: \['OUT'\]"):
        remote.infer("rows", {"IN": ROW[None]}, outputs="OUT")


def test_infer_waits_or_is_a_coroutine(do):
    result = do("infer", "rows", {"IN": ROW[None]}, parameters={"a": 1}, client_timeout=10)
    assert result["OUT"].tolist() == [ROW.tolist()]
    with pytest.raises(InvalidArgError, match="asked to fail"):
        do("infer", "rows", {"IN": ROW[None]}, parameters={"fail": True})


def test_stream_infer(started):
    requests = [{"model_name": "many", "inputs": {"IN": np.int32([number])}} for number in (2, 1)]
    unknown = [{"model_name": "nosuch", "inputs": {"IN": np.int32([1])}}]

    def values(pairs):
        results = sorted(result["OUT"].item() for result, _ in pairs if result is not None)
        return results, [str(error) for _, error in pairs if error is not None]

    assert values(list(started.stream_infer(iter(requests)))) == ([0, 0, 1], [])
    # Alone: Triton 24.10 aborts where other requests of the same stream are under way.
    results, [error] = values(list(started.stream_infer(unknown)))
    assert results == []
    assert "nosuch" in error

    async def given():
        for request in requests:
            await asyncio.sleep(0)
            yield request

    async def collect(given):
        return [pair async for pair in started.aio.stream_infer(given)]

    async def both():
        return values(await collect(given())), values(await collect(requests))

    assert asyncio.run(both()) == (([0, 0, 1], []), ([0, 0, 1], []))


def test_the_protocols_own_messages(started, over_http):
    from tritonclient.grpc import service_pb2

    message = started.get_model_metadata("rows", as_json=False)
    assert isinstance(message, service_pb2.ModelMetadataResponse)
    assert isinstance(over_http.get_model_metadata("rows", as_json=False), dict)
    result = started.rows.run(ROW[None])
    assert isinstance(result.get_response(), service_pb2.ModelInferResponse)
    assert isinstance(result.get_output("OUT"), service_pb2.ModelInferResponse.InferOutputTensor)
    assert over_http.rows.run(ROW[None]).get_output("OUT")["name"] == "OUT"


def test_what_all_methods_take(remote):
    assert remote.is_server_live(headers={"x-mine": "1"}, client_timeout=5, query_params=None)
    with pytest.raises(TypeError, match="unexpected keyword argument 'timout'"):
        remote.is_server_live(timout=1)


def test_what_is_not_the_cores(in_process):
    import tritonclient.grpc

    assert in_process.is_server_ready()
    assert in_process.get_server_metadata()["version"]
    assert in_process.get_model_config("rows")["max_batch_size"] == 8
    assert in_process.get_inference_statistics("rows")["model_stats"][0]["name"] == "rows"
    in_process.load_model("grow")
    tensor = tritonclient.grpc.InferInput("IN", [3], "FP32")
    tensor.set_shared_memory("region", 12)
    with pytest.raises(NotSupportedError, match="get_log_settings is the server's, not its core's"):
        in_process.get_log_settings()
    with pytest.raises(NotSupportedError, match="shared memory"):
        in_process.infer("flat", [tensor])
