"""A model.py in a unit test: no server, no compiler."""

from __future__ import annotations

import numpy as np
import pytest

from triton_backend_sdk import InternalError, InvalidArgError
from triton_backend_sdk.python_backend import PythonBackend

CONFIG = """
backend: "python"
input [{ name: "IN" data_type: TYPE_FP32 dims: [ -1 ] }]
output [{ name: "OUT" data_type: TYPE_FP32 dims: [ -1 ] }]
"""
DECOUPLED = "model_transaction_policy { decoupled: true }"
CALLS = """
import triton_python_backend_utils as pb_utils
from .helper import FACTOR

class TritonPythonModel:
    async def execute(self, requests):
        return [await self.answer(request) for request in requests]

    async def answer(self, request):
        call = pb_utils.InferenceRequest(
            model_name="other", requested_output_names=["OUT"], inputs=request.inputs()
        )
        response = await call.async_exec()
        if response.has_error():
            return pb_utils.InferenceResponse(error=response.error())
        array = pb_utils.get_output_tensor_by_name(response, "OUT").as_numpy()
        return pb_utils.InferenceResponse([pb_utils.Tensor("OUT", array * FACTOR)])
"""
STREAMS = """
import threading
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        for request in requests:
            array = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy().copy()
            threading.Thread(target=self.count, args=[request.get_response_sender(), array]).start()

    def count(self, sender, array):
        for number in range(3):
            sender.send(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", array + number)]))
        sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
"""
X = {"IN": np.float32([1, 2])}


@pytest.fixture
def host(fake_host, tmp_path):
    """Give ``host(source, more of the config, **options)``."""

    def make(source, extra="", **options):
        version = tmp_path / "mymodel" / "1"
        version.mkdir(parents=True)
        (version / "model.py").write_text(source)
        (version / "helper.py").write_text("FACTOR = 3\n")
        (version.parent / "config.pbtxt").write_text(CONFIG + extra)
        return fake_host(PythonBackend, version.parent / "config.pbtxt", **options)

    return make


def test_functions_stand_for_the_models_that_it_calls(host):
    one = host(CALLS, models={"other": lambda inputs: {"OUT": inputs["IN"] + 1}})

    [answer] = one.execute(X)

    assert answer["OUT"].tolist() == [6, 9]
    assert [call.model for call in one.server.calls] == ["other"]


def test_their_errors_are_the_models(host):
    def refuse(inputs):
        raise InvalidArgError("not that")

    with pytest.raises(InvalidArgError, match="not that"):
        host(CALLS, models={"other": refuse}).execute(X)


def test_a_stream(host):
    [responses] = host(STREAMS, DECOUPLED).execute(X)

    assert [response["OUT"].tolist() for response in responses] == [[1, 2], [2, 3], [3, 4]]
    assert responses.finals == 1


COUNTS = """
import triton_python_backend_utils as pb_utils
import numpy as np

class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        call = pb_utils.InferenceRequest(model_name="other", requested_output_names=[], inputs=request.inputs())
        told = [len(one.output_tensors()) for one in call.exec(decoupled=True)]
        return pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.float32(told))])
"""


def test_a_function_s_stream_ends_as_a_models_does(host):
    def several(inputs):
        for _ in range(2):
            yield {"OUT": inputs["IN"]}

    one = host(COUNTS, models={"other": several})
    assert one.execute(X)[0]["OUT"].tolist() == [1, 1, 0]
    one.server.models["other"] = lambda inputs: {"OUT": inputs["IN"]}
    assert one.execute(X)[0]["OUT"].tolist() == [1]


def test_what_initialize_raises(host):
    with pytest.raises(InternalError, match="KeyError: 'weights'"):
        host("class TritonPythonModel:\n    def initialize(self, args):\n        args['weights']\n")
