"""What a Runner can that BentoML's Triton Runner could not: thirteen limits, lifted."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tests.runner.conftest import wait_for
from triton_backend_sdk.errors import InvalidArgError, NotFoundError
from triton_backend_sdk.runner import (
    NotSupportedError,
    Restart,
    Runner,
    ServerEndedError,
    ServerLostError,
    StartError,
)
from triton_backend_sdk.runner.settings import with_our_defaults
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.ports import choose_ports
from triton_backend_sdk.tools.server_options.options import ServerOptions
from triton_backend_sdk.tools.server_options.values import InvalidOptionError

ROW = np.arange(3, dtype=np.float32)


# 1. Anywhere: scripts, notebooks, tests; started, attached or in process.


def test_e5_01_a_runner_starts_at_its_first_call(repository, few):
    runner = Runner(repository, **few)
    try:
        assert runner.flat.run(ROW)["OUT"].tolist() == ROW.tolist()
        pid = runner.server.pid
    finally:
        runner.close()
    assert not Path(f"/proc/{pid}").exists()
    with pytest.raises(InvalidArgError, match="closed"):
        runner.flat.run(ROW)
    runner.close()


def test_e5_01_all_three_ways_give_the_same(runner):
    result = runner.rows.run(ROW[None])
    assert result["OUT"].tolist() == [ROW.tolist()]
    assert (result.model_name, result.model_version, dict(result.parameters)) == ("rows", "1", {})
    assert result.datatype("OUT") == "FP32"


def test_e5_01_a_repository_or_a_url():
    for given in ({}, {"model_repository": "models", "url": "grpc://127.0.0.1:1"}):
        with pytest.raises(ValueError, match="either a model repository, or the url"):
            Runner(**given)
    for given in (
        {"log_verbose": 1},
        {"env": {"A": "1"}},
        {"restart": Restart()},
        {"in_process": True},
        {"start_timeout": 5},
    ):
        with pytest.raises(ValueError, match=r"the server at grpc://127\.0\.0\.1:1 runs already"):
            Runner(url="grpc://127.0.0.1:1", **given)
    with pytest.raises(ValueError, match="metrics_url goes with url"):
        Runner("models", metrics_url="http://127.0.0.1:8002/metrics")


def test_e5_01_nobody_at_the_url():
    [port] = choose_ports({"it": None}).values()
    for protocol in ("grpc", "http"):
        runner = Runner(url=f"{protocol}://127.0.0.1:{port}")
        began = time.monotonic()
        with pytest.raises(ServerLostError, match="refused"):
            runner.flat.run(ROW)
        assert time.monotonic() - began < 10
        assert "models" in dir(runner)  # what a shell completes
        runner.close()


# 2. Keywords are bound by name; what does not fit is a TypeError with the signature.


def test_e5_02_tensors_by_position_and_by_name(runner):
    one, two = np.float32([1, 2]), np.float32([3, 4])
    for result in (
        runner.pair.run(one, two),
        runner.pair.run(IN1=two, IN0=one),
        runner.pair.run(one, IN1=two),
        runner.pair(**{"IN1": two, "IN0": one}),
    ):
        assert result["OUT0"].tolist() == [1, 2]
        assert result["OUT1"].tolist() == [3, 4]


SIGNATURE = r"pair\(IN0: FP32 \[2\], IN1: FP32 \[2\]\) -> OUT0: FP32 \[2\], OUT1: FP32 \[2\]"


@pytest.mark.parametrize(
    ("tensors", "named", "words"),
    [
        ([1, 2, 3], {}, r"takes 2 input\(s\), 3 were given"),
        ([1], {}, r"needs 1 more input\(s\), IN1; 1 of 2 were given"),
        ([], {}, r"needs 2 more input\(s\), IN0, IN1; 0 of 2"),
        ([], {"foo": 1, "bar": 2}, r"has no input or option 'foo'"),
        ([1, 2], {"IN0": 1}, r"'IN0' was given twice"),
    ],
)
def test_e5_02_what_does_not_fit_tells_the_signature(runner, tensors, named, words):
    value = np.zeros(2, np.float32)
    with pytest.raises(TypeError, match=f"{words}.*{SIGNATURE}"):
        runner.pair.run(*[value] * len(tensors), **dict.fromkeys(named, value))


def test_e5_02_an_optional_input_may_be_left_out(runner):
    for result in (runner.maybe.run(ROW), runner.maybe.run(IN0=ROW, IN1=None)):
        assert [result[name].size for name in ("OUT0", "OUT1")] == [3, 0]
    assert runner.maybe.run(ROW, ROW)["OUT1"].size == 3
    assert str(runner.maybe.signature).startswith("maybe(IN0: FP32 [-1], IN1: FP32 [-1] = None)")
    with pytest.raises(TypeError, match=r"needs 1 more input\(s\), IN0"):
        runner.maybe.run(IN1=ROW)


# 3. Any name, any version.


def test_e5_03_any_name(runner):
    assert runner["my-model.v2"].run(ROW)["OUT"].tolist() == ROW.tolist()
    assert runner["run"].run(ROW).model_name == "run"
    assert runner.model("run").run(ROW).model_name == "run"
    assert runner["metrics"].run(ROW).model_name == "metrics"  # a method's name: by item only
    assert callable(runner.metrics)
    assert {"rows", "my-model.v2", "run", "metrics"} <= set(runner.models())
    assert "rows" in dir(runner)
    assert "my-model.v2" not in dir(runner)
    with pytest.raises(AttributeError, match="'Runner' object has no attribute '_ipython_display_'"):
        _ = runner._ipython_display_


@pytest.mark.parametrize(
    ("name", "version", "words"),
    [
        ("pairs", None, "'pairs' is not found.*; did you mean 'pair'\\?"),
        ("versions", 9, "; ready are its versions: 1, 3"),
        ("nosuch", None, "; ready are: .*flat"),
    ],
)
def test_e5_03_a_model_that_is_not_there_is_told_with_those_that_are(runner, name, version, words):
    model = runner.model(name, version=version)
    with pytest.raises(NotFoundError, match=words):
        model.run(ROW)
    with pytest.raises(NotFoundError, match=words):
        asyncio.run(model.async_run(ROW))


def test_e5_03_a_server_that_keeps_its_index_to_itself_still_says_what_is_not_there(repository, backends):
    options = {
        "backend_directory": backends,
        "http_restricted_api": {"model-repository": ("admin", "secret")},
    }
    with Runner(repository, protocol="http", **options) as runner:
        with pytest.raises(NotFoundError, match=r"'nosuch' is not found$"):
            runner.nosuch.run(ROW)
        with pytest.raises(NotFoundError, match=r"'nosuch' is not found$"):
            asyncio.run(runner.nosuch.async_run(ROW))


def test_e5_03_versions(runner):
    model = runner.versions
    assert model.versions == ["1", "3"]
    assert model.run([0])["OUT"].tolist() == [3]
    assert model.run([0], version=1)["OUT"].tolist() == [1]
    pinned = runner.model("versions", version=1)
    assert pinned.run([0])["OUT"].tolist() == [1]
    assert pinned.run([0], version="3").model_version == "3"
    with pytest.raises(NotFoundError, match=r"not found|is not at ready state|unknown"):
        runner.model("versions", version=2).run([0])


def test_e5_03_any_version_policy(runner):
    config = runner.get_model_config("versions")
    try:
        runner.load_model("versions", {**config, "version_policy": {"specific": {"versions": [1]}}})
        wait_for(lambda: runner.versions.versions == ["1"])
        assert runner.versions.run([0])["OUT"].tolist() == [1]
    finally:
        runner.load_model("versions", config)
    wait_for(lambda: runner.versions.versions == ["1", "3"])


def test_e5_03_an_unknown_model(runner):
    with pytest.raises(NotFoundError, match="nosuch"):
        runner.nosuch.run(1)


# 4. Datatypes, shapes, and what can be given for a tensor.


def test_e5_04_a_dtype_is_converted_only_without_loss_unless_said(runner):
    assert runner.flat.run(np.float16([1.5]))["OUT"].tolist() == [1.5]
    for given, rule in ((np.float64([1.5]), "same_kind"), (np.complex64([1]), "unsafe")):
        words = rf"input 'IN': got {given.dtype}, the model wants FP32 \(float32\): cast=\"{rule}\" would"
        with pytest.raises(TypeError, match=words):
            runner.flat.run(given)
    assert runner.flat.run(np.float64([1.5]), cast="same_kind")["OUT"].tolist() == [1.5]
    assert runner.flat.options(cast="same_kind").run(np.float64([1.5]))["OUT"].dtype == np.float32


def test_e5_04_lists_numbers_and_texts(runner):
    assert runner.flat.run([1, 2.5])["OUT"].tolist() == [1, 2.5]
    assert runner.rows.run(3)["OUT"].tolist() == [[3]]
    assert runner.texts.run("héllo")["OUT"].tolist() == [["héllo".encode()]]
    assert runner.texts.run([["a"], [b"\xff"]])["OUT"].tolist() == [[b"a"], [b"\xff"]]
    assert runner.texts.run(np.array([["a"], ["bc"]]))["OUT"].tolist() == [[b"a"], [b"bc"]]
    for given, error, words in (
        ([1.5], TypeError, "got fractions, the model wants INT32"),
        ([2**40], ValueError, "out of INT32's range"),
        (["a"], TypeError, "with texts, the model wants INT32"),
    ):
        with pytest.raises(error, match=f"input 'IN': .*{words}"):
            runner.grow.run(given)
    with pytest.raises(TypeError, match=r"element of type int, the model wants str or bytes \(BYTES\)"):
        runner.texts.run([[1]])


def test_e5_04_tensors_of_other_frameworks(runner):
    class Tensor:
        """All that a framework's tensor must have."""

        def __init__(self, array):
            self.array = array

        def __dlpack__(self, **given):
            return self.array.__dlpack__(**given)

        def __dlpack_device__(self):
            return self.array.__dlpack_device__()

    class OnDevice(Tensor):
        def __dlpack__(self, **given):
            raise BufferError("not on the CPU")

        def __dlpack_device__(self):
            return 2, 0

        def get(self):
            return self.array

    for kind in (Tensor, OnDevice):
        assert runner.flat.run(kind(ROW))["OUT"].tolist() == ROW.tolist()


def test_e5_04_a_shape_that_does_not_fit(runner):
    with pytest.raises(ValueError, match=r"'IN0': got shape \[3\], the model wants \[2\]"):
        runner.pair.run(ROW, ROW)
    with pytest.raises(
        ValueError, match=r"got shape \[3\], the model wants \[-1, -1\].*give \[1, 3\], or say batch=\"auto\""
    ):
        runner.rows.run(ROW)
    assert runner.rows.run(ROW, batch="auto")["OUT"].tolist() == [ROW.tolist()]


def test_e5_04_every_datatype(runner):
    spec = runner.every.signature.inputs
    given = {name: np.array([0, 1]).astype(each.datatype.numpy()) for name, each in spec.items()}
    given["IN_BYTES"] = np.array([b"", b"\xff\x00"], object)
    result = runner.every.run(**given)
    for name, array in given.items():
        assert result["OUT" + name[2:]].tolist() == array.tolist()
        assert result["OUT" + name[2:]].dtype == array.dtype
    strided = np.arange(8, dtype=np.float32)[::2]
    assert runner.flat.run(strided)["OUT"].tolist() == strided.tolist()
    assert runner.flat.run(np.zeros(0, np.float32))["OUT"].shape == (0,)


# 5. Options of a call; metadata is asked for once.


def test_e5_05_options_of_a_call(runner):
    said = {"text": "t", "flag": True, "number": 7, "fraction": 0.5}
    result = runner.about.run([1], request_id="mine", parameters=said, priority=1, timeout=9_000_000)
    told = json.loads(result["TOLD"][0])
    assert result.id == told["id"] == "mine"
    assert {key: told["parameters"][key] for key in said} == said
    assert told["timeout"] == 9_000_000
    for at, flags in enumerate((1, 0, 2)):
        told = runner.sequence.run([1], sequence_id=7, sequence_start=at == 0, sequence_end=at == 2)["TOLD"]
        assert json.loads(told[0])["sequence"] == 7
        assert json.loads(told[0])["flags"] == flags
    only = runner.pair.run([1, 2], [3, 4], outputs=["OUT1"])
    assert list(only) == ["OUT1"]
    with pytest.raises(InvalidArgError, match="'priority' is the protocol's own"):
        runner.flat.run(ROW, parameters={"priority": 1})
    with pytest.raises(InvalidArgError, match="asked to fail"):
        runner.flat.run(ROW, parameters={"fail": True})


def test_e5_05_shared_memory_is_allowed_where_it_must_be():
    def options(known, **more):
        asked = {"metrics": True, "shared_memory": True, **more}
        return with_our_defaults(ServerOptions(), known=frozenset(known), **asked)

    assert "--allow-client-shm=true" in options(["allow-client-shm"]).to_argv()
    assert options([]).allow_client_shm is None  # before 2.69 there is no such option
    assert options(["allow-client-shm"], shared_memory=False).allow_client_shm is None


def test_e5_05_an_input_called_like_an_option(runner):
    assert runner.timed.run(timeout=ROW)["OUTmeout"].tolist() == ROW.tolist()
    assert runner.timed.options(timeout=10**7).run(timeout=ROW).model_name == "timed"
    assert runner.names.run(version=ROW, self=ROW)["OUTrsion"].tolist() == ROW.tolist()
    assert asyncio.run(runner.names.async_run(version=ROW, self=ROW)).model_version == "1"
    assert runner.names.options(version=1).run(version=ROW, self=ROW).model_version == "1"
    with pytest.raises(TypeError, match="no option 'nosuch'"):
        runner.timed.options(nosuch=1)


def test_e5_05_headers_and_compression(remote):
    told = json.loads(remote.about.run([1], headers={"X-Mine": "here"})["TOLD"][0])
    assert "here" in told["parameters"].values()
    row = np.zeros(4096, np.float32)
    for kind in ("gzip", "deflate"):
        assert remote.flat.run(row, compression=kind, response_compression=kind)["OUT"].size == 4096
    with pytest.raises(ValueError, match="compression 'zip' does not exist"):
        remote.flat.run(row, compression="zip")


def test_e5_05_a_client_timeout(runner):
    began = time.monotonic()
    with pytest.raises(TimeoutError, match=r"^no answer from run within 0\.1 s$"):
        runner["run"].run(ROW, parameters={"sleep": 5.0}, client_timeout=0.1)
    assert time.monotonic() - began < 4.5
    assert runner.flat.run(ROW)["OUT"].tolist() == ROW.tolist()


def test_e5_05_whose_answer_did_not_come(runner):
    """In the same words whatever the request, and whoever waits."""
    late = r"^no answer from flat within 0\.1 s$"
    given = {"parameters": {"sleep": 1.0}, "client_timeout": 0.1}
    with pytest.raises(TimeoutError, match=late):
        asyncio.run(runner.flat.async_run(ROW, **given))
    for call in (runner.infer, lambda *names, **more: asyncio.run(runner.aio.infer(*names, **more))):
        with pytest.raises(TimeoutError, match=late):
            call("flat", {"IN": ROW}, **given)


def test_e5_05_a_client_timeout_is_for_a_call_of_the_server_too(remote):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        runner = Runner(url=f"{remote.url.split(':')[0]}://127.0.0.1:{silent.getsockname()[1]}")
        for call in (
            runner.get_model_config,
            lambda *names, **more: asyncio.run(runner.aio.get_model_config(*names, **more)),
        ):
            with pytest.raises(TimeoutError, match=r"^no answer from flat within 0\.1 s$"):
                call("flat", client_timeout=0.1)
        with pytest.raises(TimeoutError, match=r"^no answer from the server within 0\.1 s$"):
            runner.is_server_live(client_timeout=0.1)
        runner.close()


def test_e5_06_the_client_timeout_of_a_stream_is_for_all_of_it(runner):
    given = {"parameters": {"sleep": 0.2}, "client_timeout": 1.0}
    assert [result["OUT"].item() for result in runner.many.stream([2], **given)] == [0, 1]
    found = []
    began = time.monotonic()
    with pytest.raises(TimeoutError, match=r"^the stream of many did not end within 1 s$"):
        found.extend(result["OUT"].item() for result in runner.many.stream([50], **given))
    assert time.monotonic() - began < 8  # of ten seconds
    assert found[:1] == [0]

    async def collect():
        return [result async for result in runner.many.async_stream([50], **given)]

    with pytest.raises(TimeoutError, match=r"^the stream of many did not end within 1 s$"):
        asyncio.run(collect())
    assert [result["OUT"].item() for result in runner.many.stream([3])] == [0, 1, 2]  # it has none


def test_e5_05_metadata_is_asked_for_once_until_a_model_changes(runner, monkeypatch):
    asked = []
    core = runner._core
    real = core.fresh_signature
    monkeypatch.setattr(core, "fresh_signature", lambda *which: asked.append(which) or real(*which))
    runner.load_model("flat")
    for _ in range(3):
        runner.flat.run(ROW)
    assert asked == [("flat", "")]
    runner.load_model("flat")
    runner.flat.run(ROW)
    assert len(asked) == 2
    runner.unload_model("flat")
    wait_for(lambda: not runner.is_model_ready("flat"))
    with pytest.raises((NotFoundError, Exception), match="flat"):
        runner.flat.run(ROW)
    runner.load_model("flat")
    assert runner.flat.run(ROW)["OUT"].tolist() == ROW.tolist()


@pytest.mark.parametrize("known", ["before it is sent", "from the server"])
def test_e5_05_a_model_that_somebody_else_changed(started, over_http, known):
    config = started.get_model_config("changing")
    model = over_http.changing
    assert model.run(ROW)["OUT"].dtype == np.float32
    changed = json.loads(json.dumps(config).replace("TYPE_FP32", "TYPE_FP64"))
    try:
        started.load_model("changing", changed)
        row = ROW.astype(np.float64) if known == "before it is sent" else ROW
        assert model.run(row)["OUT"].dtype == np.float64
        started.load_model("changing", config)
        assert asyncio.run(model.async_run(ROW))["OUT"].dtype == np.float32
    finally:
        started.load_model("changing", config)


# 6. Sync from any thread, async from any loop; streams; one class of results.


def test_e5_06_sync_from_any_thread_and_inside_a_loop(runner):
    found = []
    threads = [
        threading.Thread(target=lambda at=at: found.append(runner.flat.run(np.float32([at]))["OUT"].item()))
        for at in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(8))

    async def inside():
        return runner.flat.run(ROW)["OUT"].tolist()

    assert asyncio.run(inside()) == ROW.tolist()


def test_e5_06_async_from_any_loop(runner):
    async def several():
        results = await asyncio.gather(*(runner.flat.async_run(np.float32([at])) for at in range(10)))
        return [result["OUT"].item() for result in results]

    for _ in range(2):  # two loops, one after the other
        assert asyncio.run(several()) == list(range(10))


def test_e5_06_a_cancelled_task_gives_up_at_once(runner):
    async def cancelled():
        task = asyncio.create_task(runner["metrics"].async_run(ROW, parameters={"sleep": 5.0}))
        await asyncio.sleep(0.1)
        began = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return time.monotonic() - began

    assert asyncio.run(cancelled()) < 4.5


def test_e5_06_streams(runner):
    assert [result["OUT"].tolist()[0] for result in runner.many.stream([4])] == [0, 1, 2, 3]
    assert list(runner.many.stream([0])) == []

    async def collect():
        return [result["OUT"].tolist()[0] async for result in runner.many.async_stream([3])]

    assert asyncio.run(collect()) == [0, 1, 2]
    with runner.many.stream([1000], parameters={"sleep": 0.01}) as stream:
        assert next(stream)["OUT"].tolist() == [0]
    assert runner.flat.run(ROW)["OUT"].tolist() == ROW.tolist()


def test_e5_06_an_error_in_a_stream(runner):
    stream = runner.many.stream([2], parameters={"fail": True})
    assert [next(stream)["OUT"].tolist()[0] for _ in range(2)] == [0, 1]
    with pytest.raises(InvalidArgError, match="asked to fail"):
        next(stream)


def test_e5_06_what_http_cannot_stream_names_grpc(over_http):
    with pytest.raises(NotSupportedError, match="gRPC"):
        over_http.rows.stream(np.zeros((2, 3), np.float32))


def test_e5_06_one_class_of_results(runner):
    result = runner.pair.run([1, 2], [3, 4], request_id="mine")
    assert result.as_numpy("OUT0").tolist() == [1, 2]
    assert result.as_numpy("nosuch") is None
    with pytest.raises(KeyError, match="no output 'nosuch' in this response; there are: OUT0, OUT1"):
        result.as_numpy("nosuch", strict=True)
    with pytest.raises(KeyError, match="nosuch"):
        result.outputs["nosuch"]
    assert {name: array.tolist() for name, array in result.outputs.items()} == {
        "OUT0": [1, 2],
        "OUT1": [3, 4],
    }
    wanted = {"name": "OUT0", "datatype": "FP32", "shape": [2], "data": [1.0, 2.0]}
    assert result.get_output("OUT0", as_json=True) == wanted
    document = result.get_response(as_json=True)
    assert json.loads(json.dumps(document)) == document
    assert document["outputs"][0] == wanted
    assert (document["model_name"], document["model_version"], document["id"]) == ("pair", "1", "mine")
    assert result.get_output("nosuch") is None
    assert "OUT0" in result


# 7. The 22 client methods are in test_client_methods.py.


def test_e5_07_a_stream_of_requests_is_grpcs(over_http, in_process):
    for runner in (over_http, in_process):
        with pytest.raises(NotSupportedError, match="gRPC"):
            runner.stream_infer([])


# 8. Both protocols and metrics at once; loopback; replicas only where ports are shared on purpose.


def test_e5_08_both_protocols_and_metrics_at_once(started, over_http):
    def counted(runner):
        return runner.metrics().value("nv_inference_request_success", model="counted")

    started.counted.run(ROW)
    over_http.counted.run(ROW)
    wait_for(lambda: counted(started) == 2)  # a request is counted after it was answered
    metrics = started.metrics()
    assert {sample.labels["runner"] for sample in metrics} == {"mine"}
    with pytest.raises(KeyError, match=r"no metric 'nosuch'; there are: nv_"):
        metrics.value("nosuch")
    with pytest.raises(NotSupportedError, match="metrics_url="):
        over_http.metrics()
    other = Runner(url=started.url, metrics_url=started.server.metrics_url)
    assert counted(other) == 2
    other.close()


def test_e5_08_metrics_in_process(in_process):
    in_process.counted.run(ROW)
    name = "nv_inference_request_success"
    wait_for(lambda: in_process.metrics().value(name, model="counted") == 1)


def test_e5_08_it_listens_on_loopback_only(started):
    server = started.server
    assert all(f"--{service}-address=127.0.0.1" in server.argv for service in ("http", "grpc", "metrics"))
    for url in (server.http_url, server.grpc_url, server.metrics_url.split("/")[2]):
        port = int(url.rpartition(":")[2])
        socket.create_connection(("127.0.0.1", port)).close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", port))


def test_e5_08_replicas_share_a_port_only_on_purpose(repository, few):
    ports = choose_ports({"http": None, "grpc": None})
    shared = {f"{name}_port": port for name, port in ports.items()} | few
    with Runner(repository, **shared, reuse_http_port=True, reuse_grpc_port=True) as one:
        with Runner(repository, **shared, reuse_http_port=True, reuse_grpc_port=True) as two:
            assert one.server.grpc_url == two.server.grpc_url
            assert one.server.pid != two.server.pid
        with pytest.raises((StartError, HandledError), match=f"{ports['http']}|{ports['grpc']}"):
            Runner(repository, **shared).start()


# 9. Ports.


def test_e5_09_ports_are_free_ones_or_those_given(repository, few):
    [port] = choose_ports({"grpc": None}).values()
    with Runner(repository, **few, grpc_port=port) as runner:
        assert runner.url == f"grpc://127.0.0.1:{port}"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        used = taken.getsockname()[1]
        with pytest.raises((StartError, HandledError), match=str(used)):
            Runner(repository, **few, http_port=used).start()


def test_e5_09_a_free_port_that_somebody_took_is_changed(repository, few, monkeypatch):
    tried = []
    with socket.create_server(("127.0.0.1", 0)) as taken:

        def choose(wanted):
            found = choose_ports(wanted)
            if not tried:
                found["http"] = taken.getsockname()[1]
            tried.append(found)
            return found

        monkeypatch.setattr("triton_backend_sdk.tools.service_ports.choose_ports", choose)
        with Runner(repository, **few) as runner:
            assert runner.flat.run(ROW)["OUT"].tolist() == ROW.tolist()
            assert len(tried) == 2


# 10. Options are typed; the ways in which BentoML took them still work, and nothing is dropped.


def test_e5_10_options_in_every_form(repository, backends):
    args = ["--log-verbose=1"]
    runner = Runner(
        repository,
        options=ServerOptions(backend_directory=backends, exit_timeout_secs=7),
        cli_args=args,
        triton_options=["model_control_mode=explicit", "load-model:rows"],
        log_info=True,
    )
    with runner:
        argv = runner.server.argv
        assert runner.models() == ["rows"]
    for flag in (
        "--log-verbose=1",
        "--exit-timeout-secs=7",
        "--model-control-mode=explicit",
        "--load-model=rows",
    ):
        assert flag in argv
    assert args == ["--log-verbose=1"]


def test_e5_10_unknown_options_are_errors(repository):
    with pytest.raises(TypeError, match="no option 'log_verbos'; did you mean 'log_verbose'"):
        Runner(repository, log_verbos=1)
    with pytest.raises(InvalidOptionError, match="no option --nosuch"):
        Runner(repository, triton_options=["nosuch=1"])
    with pytest.raises(InvalidOptionError, match="expected NAME=VALUE"):
        Runner(repository, triton_options=["log-verbose"])
    with pytest.raises(ValueError, match="cli_args takes strings that start with '--'"):
        Runner(repository, cli_args=["log-verbose=1"])
    for given in ({"triton_options": ["model_repository=x"]}, {"cli_args": ["--model-repository=x"]}):
        with pytest.raises(ValueError, match="first argument"):
            Runner(repository, **given)
    with pytest.raises(ValueError, match="allow_grpc=False"):
        Runner(repository, allow_grpc=False)


def test_e5_10_what_only_a_server_has_is_refused_in_process(repository):
    for given in (
        {"http_port": 1},
        {"protocol": "http"},
        {"protocol": "grpc"},
        {"restart": Restart()},
        {"start_timeout": 5},
        {"shared_memory": True},
        {"server": "tritonserver"},
        {"env": {"A": "1"}},
        {"on_line": print},
    ):
        with pytest.raises(NotSupportedError, match=f"^{next(iter(given))} has no meaning in process"):
            Runner(repository, in_process=True, **given)
    Runner(repository, in_process=True, protocol=None, restart=None, start_timeout=60)


def test_e5_10_the_environment(repository, backends, monkeypatch):
    monkeypatch.setenv("BENTOML_USE_HTTP_TRITONSERVER", "1")
    monkeypatch.setenv("TBSDK_RUNNER_OPTIONS", "log-verbose=1 load-model=rows model-control-mode=explicit")
    with Runner(repository, backend_directory=backends) as runner:
        assert runner.url.startswith("http://")
        assert "--log-verbose=1" in runner.server.argv
        assert runner.rows.run(ROW[None])["OUT"].tolist() == [ROW.tolist()]
    monkeypatch.delenv("TBSDK_RUNNER_OPTIONS")
    monkeypatch.setenv("TBSDK_RUNNER_PROTOCOL", "grpc")
    assert Runner(url="127.0.0.1:1").url == "grpc://127.0.0.1:1"
    assert Runner(url="127.0.0.1:1", protocol="http").url == "http://127.0.0.1:1"
    monkeypatch.setenv("TBSDK_RUNNER_PROTOCOL", "smtp")
    with pytest.raises(ValueError, match="TBSDK_RUNNER_PROTOCOL must be 'grpc' or 'http', not 'smtp'"):
        Runner(repository)
    for url, protocol in (("ftp://x:1", None), ("http://x:1", "grpc"), ("http://x:1/path", None)):
        with pytest.raises(ValueError, match="url"):
            Runner(url=url, protocol=protocol)


# 11. Supervision.


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_e5_11_a_crash_during_a_call_raises_at_once_and_the_server_comes_back(repository, few, protocol):
    with Runner(repository, **few, protocol=protocol, restart=Restart(pause=0.01)) as runner:
        pid = runner.server.pid
        began = time.monotonic()
        with pytest.raises(
            ServerEndedError, match=r"ended by itself .signal SIGKILL.; its last lines:"
        ) as caught:
            runner.flat.run(ROW, parameters={"crash": True})
        assert time.monotonic() - began < 5
        assert caught.value.returncode == -signal.SIGKILL
        assert any("flat" in line for line in caught.value.lines)
        assert runner.flat.run(ROW)["OUT"].tolist() == ROW.tolist()  # waits for the restart
        assert runner.restarts == 1
        assert runner.server.pid != pid
        with pytest.raises(ServerEndedError):
            list(runner.many.stream([2], parameters={"crash": True}))

        async def crash():
            with pytest.raises(ServerEndedError):
                await runner.flat.async_run(ROW, parameters={"crash": True})
            return (await runner.flat.async_run(ROW))["OUT"].tolist()

        assert asyncio.run(crash()) == ROW.tolist()
        assert runner.restarts == 3


def test_e5_11_restarts_have_a_cap(repository, few):
    restart = Restart(limit=1, pause=0.01)
    with Runner(repository, **few, restart=restart) as runner:
        for _ in range(2):
            with pytest.raises(ServerEndedError):
                runner.flat.run(ROW, parameters={"crash": True})
        assert runner.restarts == 1
        for _ in range(2):  # and it stays so
            with pytest.raises(ServerEndedError, match="signal SIGKILL"):
                runner.flat.run(ROW)
    assert [Restart(pause=1, longest=5).pauses(at) for at in range(4)] == [1, 2, 4, 5]


def test_e5_11_a_server_that_does_not_start_says_why(repository, backends, tmp_path):
    (tmp_path / "broken" / "1").mkdir(parents=True)
    (tmp_path / "broken" / "config.pbtxt").write_text('backend: "nosuch"')
    runner = Runner(tmp_path, backend_directory=backends)
    with pytest.raises(StartError, match=r"failed to load 'broken' version 1.*nosuch") as caught:
        runner.start()
    assert (caught.value.code, caught.value.returncode) == ("Internal", 1)
    assert [failure.name for failure in caught.value.failures] == ["broken"]
    assert any("broken" in line for line in caught.value.log)
    with pytest.raises(StartError, match=r"there is no model repository .*/nowhere"):
        Runner(tmp_path / "nowhere", backend_directory=backends).start()


def test_e5_11_a_graceful_stop(repository, few):
    with Runner(repository, **few) as runner:
        server = runner.server
        answers = []
        slow = {"parameters": {"sleep": 1.0}}
        thread = threading.Thread(target=lambda: answers.append(runner.flat.run(ROW, **slow)["OUT"].size))
        thread.start()
        wait_for(lambda: runner.metrics().value("nv_inference_pending_request_count", model="flat") == 0)
        time.sleep(0.3)  # it is in the model by now
    thread.join()
    assert (server.returncode, answers) == (0, [ROW.size])


def test_e5_11_no_orphans_when_the_parent_dies(repository, backends):
    program = f"""
    import os, signal
    from triton_backend_sdk.runner import Runner
    runner = Runner({str(repository)!r}, backend_directory={str(backends)!r})
    print(runner.server.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    pid = int(done.stdout)
    wait_for(
        lambda: not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2]
    )


def test_e5_11_a_runner_that_is_dropped_stops_its_server(repository, backends):
    program = f"""
    from triton_backend_sdk.runner import Runner
    runner = Runner({str(repository)!r}, backend_directory={str(backends)!r}, load_model=["rows"], model_control_mode="explicit")
    print(runner.server.pid, runner.rows.run([[1.0]])["OUT"].tolist(), flush=True)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    pid, _, answer = done.stdout.partition(" ")
    assert (answer.strip(), done.stderr, done.returncode) == ("[[1.0]]", "", 0)
    assert not Path(f"/proc/{pid}").exists()


# 12. Buckets; paths.


def test_e5_12_buckets_are_looked_at_before_the_server_starts(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)
    with pytest.raises(StartError, match="there is AWS_ACCESS_KEY_ID, but no AWS_SECRET_ACCESS_KEY"):
        Runner("s3://bucket/models").start()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    [port] = choose_ports({"it": None}).values()
    began = time.monotonic()
    with pytest.raises(StartError, match=r"s3://|without s3"):
        Runner(f"s3://http://127.0.0.1:{port}/bucket/models").start()
    assert time.monotonic() - began < 15
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere.json")
    with pytest.raises(StartError, match=r"GOOGLE_APPLICATION_CREDENTIALS names /nowhere\.json"):
        Runner("gs://bucket/models").start()


def test_e5_12_relative_paths_are_those_of_the_construction(repository, backends, monkeypatch, tmp_path):
    monkeypatch.chdir(repository.parent)
    several = ["models"]
    runner = Runner(several, backend_directory=backends)
    several.append("nosuch")
    monkeypatch.chdir(tmp_path)
    with runner:
        assert "rows" in runner.models()


# 13. `tbsdk bento export` is in test_bento.py.
