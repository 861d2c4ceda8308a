"""Twenty thousand requests leave nothing behind: no requests, responses or models alive, and no memory."""

from __future__ import annotations

import gc
import logging
import os
from pathlib import Path

import numpy as np
import pytest

from triton_backend_sdk import InternalError, InvalidArgError

IDENTITY = """
class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            tensor = pb_utils.get_input_tensor_by_name(request, "IN")
            output = pb_utils.Tensor("OUT", tensor.as_numpy())
            responses.append(pb_utils.InferenceResponse(
                output_tensors=[output], parameters={"id": request.request_id(), "more": request.parameters()}
            ))
        return responses
"""
STREAM = """
class TritonPythonModel:
    def execute(self, requests):
        for request in requests:
            sender = request.get_response_sender()
            array = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()
            for number in array:
                sender.send(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.array([number]))]))
            sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
"""
FAILS = """
class TritonPythonModel:
    def execute(self, requests):
        arrays = [pb_utils.get_input_tensor_by_name(request, "IN").as_numpy() for request in requests]
        if arrays[0][0]:
            raise ValueError("no")
        error = pb_utils.TritonError("no good", pb_utils.TritonError.INVALID_ARG)
        return [pb_utils.InferenceResponse(error=error) for request in requests]
"""
CALL = """
class TritonPythonModel:
    {coroutine}def execute(self, requests):
        responses = []
        for request in requests:
            call = pb_utils.InferenceRequest(
                model_name="callee", inputs=[request.inputs()[0]], requested_output_names=["OUT"]
            )
            answer = {call}
            output = pb_utils.get_output_tensor_by_name(answer, "OUT")
            responses.append(pb_utils.InferenceResponse(output_tensors=[output]))
        return responses
"""
REQUESTS = 20_000


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def ask(served, inputs, count):
    for _ in range(count):
        assert served.infer(inputs)["OUT"].shape == (256,)


def hear(served, inputs, count):
    for _ in range(count):
        assert sum(1 for _ in served.stream(inputs)) == 256


def fail(served, inputs, count):
    for number in range(count):
        with pytest.raises((InternalError, InvalidArgError), match="no"):
            served.infer({"IN": np.full(256, number % 2, np.float32)})


@pytest.fixture(autouse=True)
def _pytest_keeps_no_records():
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize(
    ("source", "act", "requests"),
    [
        pytest.param(IDENTITY, ask, REQUESTS, id="identity"),
        pytest.param(STREAM, hear, REQUESTS // 128, id="stream"),
        pytest.param(FAILS, fail, REQUESTS // 2, id="errors"),
        pytest.param(CALL.format(coroutine="", call="call.exec()"), ask, REQUESTS // 2, id="exec"),
        pytest.param(
            CALL.format(coroutine="async ", call="await call.async_exec()"),
            ask,
            REQUESTS // 4,
            id="async_exec",
        ),
    ],
)
def test_memory_stays_flat(serve_model, source, act, requests):
    callee = serve_model(IDENTITY, name="callee")
    served = serve_model(source, beside=callee, decoupled=act is hear)
    inputs = {"IN": np.arange(256, dtype=np.float32)}
    act(served, inputs, requests // 4)
    gc.collect()
    before, objects = resident_bytes(), len(gc.get_objects())
    act(served, inputs, requests)
    gc.collect()
    assert served.core.wait_released(5), served.core.live_objects()
    assert len(gc.get_objects()) - objects < 500
    assert resident_bytes() - before < 6 << 20  # 300 bytes for each request


def test_reloads_leave_nothing(serve_model):
    served = serve_model(IDENTITY)
    inputs = {"IN": np.arange(256, dtype=np.float32)}

    def reload(count):
        for _ in range(count):
            ask(served, inputs, 1)
            served.core.unload(served.name)
            served.core.load(served.name)

    reload(20)
    gc.collect()
    before, objects = resident_bytes(), len(gc.get_objects())
    reload(40)
    gc.collect()
    assert len(gc.get_objects()) - objects < 500
    assert resident_bytes() - before < 6 << 20
