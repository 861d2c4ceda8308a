"""Requests at the least cost through the real core: the same answers, and nothing left behind."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from tests.runtime.conftest import serve  # noqa: F401  the fixture
from triton_backend_sdk import InternalError, InvalidArgError, NotFoundError
from triton_backend_sdk.dtypes import DataType

ECHO = """
import time

@hookimpl
def execute(requests):
    for request in requests:
        value = request["IN"].tolist()
        if value and value[0] < 0:
            raise InvalidArgError("no negative numbers")
        if value and value[0] > 1000:
            time.sleep(0.3)
    return [Response({"OUT": request["IN"]}, parameters={"said": True}) for request in requests]
"""
MANY = """
@hookimpl
def execute(request):
    for _ in range(request["IN"].tolist()[0]):
        yield Response({"OUT": np.float32([1])})
"""


def ask(served, *values, timeout=20, outputs=(), name=b"IN"):
    flat = np.float32(values).view(np.uint8)
    inputs = [(name, DataType.FP32, (len(values),), flat)]
    return served.core.lean.infer(served.name.encode(), -1, inputs, outputs, timeout)


def wait_until_released(served):
    deadline = time.monotonic() + 10
    while served.core.lean._calls:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_request_and_its_response(serve):  # noqa: F811
    served = serve(ECHO)
    response = ask(served, 1, 2)
    assert (response["OUT"].tolist(), response["OUT"].dtype) == ([1, 2], np.float32)
    assert (response.model, response.version, response.parameters) == (served.name, 1, {"said": True})
    assert ask(served)["OUT"].tolist() == []
    assert list(ask(served, 1, outputs=[b"OUT"])) == ["OUT"]
    kept = [ask(served, number)["OUT"] for number in range(5)]
    assert [array.item() for array in kept] == list(range(5))


def test_texts(serve):  # noqa: F811
    served = serve(ECHO.replace("value[0] <", "False and value[0] <").replace("value[0] >", "False and value[0] >"),
                   {"IN": ("BYTES", [-1])}, {"OUT": ("BYTES", [-1])})  # fmt: skip
    data = np.frombuffer(b"\x02\x00\x00\x00ab", np.uint8)
    response = served.core.lean.infer(served.name.encode(), 1, [(b"IN", DataType.BYTES, (1,), data)], (), 20)
    assert response["OUT"].tolist() == [b"ab"]


def test_errors_of_the_plugin_and_of_triton(serve):  # noqa: F811
    served = serve(ECHO)
    with pytest.raises(InvalidArgError, match="no negative numbers"):
        ask(served, -1)
    with pytest.raises(InvalidArgError, match="NOSUCH"):
        ask(served, 1, name=b"NOSUCH")
    with pytest.raises(NotFoundError, match="nosuch"):
        served.core.lean.infer(b"nosuch", -1, [], (), 20)
    wait_until_released(served)


def test_a_timeout_leaves_nothing(serve):  # noqa: F811
    served = serve(ECHO)
    with pytest.raises(TimeoutError, match=r"within 0\.05 s"):
        ask(served, 2000, timeout=0.05)
    assert ask(served, 1)["OUT"].tolist() == [1]
    wait_until_released(served)


def test_many_threads(serve):  # noqa: F811
    served = serve(ECHO, batch=0, extra="instance_group { kind: KIND_CPU count: 3 }")
    wrong = []

    def loop(number):
        for at in range(50):
            value = number + at / 100
            if ask(served, value)["OUT"].tolist() != [np.float32(value)]:
                wrong.append(value)

    threads = [threading.Thread(target=loop, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_not_one_response(serve):  # noqa: F811
    decoupled = "model_transaction_policy { decoupled: true }"
    served = serve(MANY, {"IN": ("INT32", [1])}, batch=0, extra=decoupled)
    for number, words in ((0, "no response"), (2, "more than one response")):
        given = [(b"IN", DataType.INT32, (1,), np.int32([number]).view(np.uint8))]
        with pytest.raises(InternalError, match=words):
            served.core.lean.infer(served.name.encode(), -1, given, (), 20)
