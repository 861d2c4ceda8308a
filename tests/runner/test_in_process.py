"""Requests in process take one of two ways: in C where a backend of the SDK is loaded, in Python elsewhere."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import threading

import numpy as np
import pytest

from triton_backend_sdk import (
    InternalError,
    InvalidArgError,
    NotFoundError,
    UnavailableError,
    dtypes,
)
from triton_backend_sdk.server import Server
from triton_backend_sdk.testing.core import TritonCore

ROW = np.float32([1, 2])


@pytest.fixture(params=["in C", "in Python"])
def way(request, in_process, monkeypatch):
    """A Runner in process on either way."""
    in_process.flat.run(ROW)  # so that a backend is loaded
    core = in_process._core.backing.transport().core
    if request.param == "in Python":
        monkeypatch.setattr(TritonCore, "server", None)
    else:
        assert isinstance(core.server, Server)
    yield in_process
    assert core.wait_released(20), core.live_objects()


def test_every_datatype(way):
    for each in dtypes.DataType:
        if each in {dtypes.DataType.BF16, dtypes.DataType.BYTES}:
            continue
        given = np.arange(3).astype(each.numpy())
        rest = {
            f"IN_{name.value}": np.zeros(1, name.numpy()) if name is not dtypes.DataType.BYTES else np.array([b""])
            for name in dtypes.DataType
            if name not in {dtypes.DataType.BF16, each}
        }  # fmt: skip
        result = way.every.run(**rest, **{f"IN_{each.value}": given})
        got = result[f"OUT_{each.value}"]
        assert (got.dtype, got.tolist()) == (given.dtype, given.tolist())
        assert result.datatype(f"OUT_{each.value}") == each.value


@pytest.mark.parametrize("texts", [["ab"], [b"\xff\x00"], [""], np.array(["é"]), np.array([b"x"])], ids=repr)
def test_texts(way, texts):
    wanted = [text if isinstance(text, bytes) else str(text).encode() for text in texts]
    assert way.texts.run([texts])["OUT"].tolist() == [wanted]


@pytest.mark.parametrize(
    "array",
    [
        np.float32([]),
        np.arange(6, dtype=np.float32)[::2],
        np.arange(4, dtype=np.float32)[::-1],
        np.float32([5]),
    ],
    ids=["empty", "strided", "reversed", "one"],
)
def test_arrays_of_any_layout(way, array):
    got = way.flat.run(array)["OUT"]
    assert got.tolist() == array.tolist()
    got[:] = 0  # the caller's own


def test_outputs_outlive_others(way):
    kept = [way.flat.run(np.float32([number]))["OUT"] for number in range(20)]
    assert [array.item() for array in kept] == list(range(20))


def test_what_a_request_says(way):
    given = {
        "parameters": {"a": 1, "b": "two", "c": True, "d": 0.5},
        "request_id": "mine",
        "timeout": 5_000_000,
    }
    result = way.about.run([1], **given, priority=1)
    told = json.loads(result["TOLD"][0])
    assert told["id"] == result.id == "mine"
    assert told["parameters"] == given["parameters"]
    assert told["timeout"] == 5_000_000
    result = way.sequence.run([1], sequence_id=7, sequence_start=True, sequence_end=True)
    told = json.loads(result["TOLD"][0])
    assert (told["sequence"], told["flags"]) == (7, 3)
    told = json.loads(way.sequence.run([1], sequence_id="s", sequence_start=True)["TOLD"][0])
    assert (told["sequence"], told["flags"]) == ("s", 1)
    assert list(way.pair.run([1, 2], [3, 4], outputs=["OUT1"])) == ["OUT1"]
    assert way.versions.run([1], version=1)["OUT"].tolist() == [1]
    assert way.versions.run([1]).model_version == "3"


def test_errors(way):
    with pytest.raises(InvalidArgError, match="asked to fail"):
        way.flat.run(ROW, parameters={"fail": 1})
    with pytest.raises(NotFoundError, match="nosuch"):
        way.infer("nosuch", {"IN": ROW})
    with pytest.raises(InvalidArgError, match="NOSUCH"):
        way.infer("flat", {"NOSUCH": ROW})
    with pytest.raises(InternalError, match="stream"):
        way.infer("many", {"IN": np.int32([2])})
    with pytest.raises(InternalError, match=r"no response|0 responses"):
        way.infer("many", {"IN": np.int32([0])})


def test_a_timeout(way):
    with pytest.raises(TimeoutError, match=r"no answer from flat within 0\.05 s"):
        way.flat.run(ROW, parameters={"sleep": 0.3}, client_timeout=0.05)
    assert way.flat.run(ROW, client_timeout=20)["OUT"].tolist() == [1, 2]


def test_in_an_event_loop(way):
    """run() stops the loop, as any call does that waits; it is no error."""

    async def both():
        return way.flat.run(ROW), way.flat.run(ROW, client_timeout=20), await way.flat.async_run(ROW)

    assert [result["OUT"].tolist() for result in asyncio.run(both())] == [[1, 2]] * 3


def test_from_many_threads(way):
    wrong = []

    def loop(number):
        for at in range(50):
            value = np.float32([number, at])
            if way.flat.run(value)["OUT"].tolist() != value.tolist():
                wrong.append(value)

    threads = [threading.Thread(target=loop, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("timeout", [None, 20])
def test_control_c_ends_the_wait(way, timeout):
    def interrupt(number, frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(KeyboardInterrupt):
            way.flat.run(ROW, parameters={"sleep": 0.5}, client_timeout=timeout)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert way.flat.run(ROW)["OUT"].tolist() == [1, 2]


def test_the_server_of_a_core(repository, backends, monkeypatch):
    with TritonCore(repository, backends) as core:
        core.load("flat")
        server = core.server
        assert server is core.server
        assert server.infer("flat", {"IN": ROW})["OUT"].numpy().tolist() == [1, 2]
    with pytest.raises(UnavailableError, match="unloaded"):
        server.infer("flat", {"IN": ROW})
    with pytest.raises(InvalidArgError, match="closed"):
        assert core.server
    monkeypatch.delitem(sys.modules, "triton_backend_sdk._native")
    with TritonCore(repository, backends) as core:
        assert core.server is None  # so far
