"""The ways in which a model.py answers."""

from __future__ import annotations

import numpy as np
import pytest

from triton_backend_sdk import InternalError, InvalidArgError

DOUBLES = """
class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            array = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", array * 2)]))
        return responses
"""
FLOATS = {"IN": np.arange(3, dtype=np.float32)}


def test_a_model_answers(serve_model):
    served = serve_model(DOUBLES)
    np.testing.assert_array_equal(served.infer(FLOATS)["OUT"], [0, 2, 4])


def test_an_exception_is_told_as_the_stock_backend_does(serve_model):
    served = serve_model(
        """
        def inner():
            raise ValueError("no good")

        class TritonPythonModel:
            def execute(self, requests):
                inner()
        """
    )
    with pytest.raises(InternalError) as raised:
        served.infer(FLOATS)
    file = served.repository / served.name / "1" / "model.py"
    assert raised.value.message == (
        f"Failed to process the request(s) for model '{served.name}_0_0', message: ValueError: no good\n\n"
        f"At:\n  {file}(5): inner\n  {file}(9): execute\n"
    )


def test_a_request_fails_alone_with_a_code(serve_model):
    served = serve_model(
        """
        class TritonPythonModel:
            def execute(self, requests):
                error = pb_utils.TritonError("not that", pb_utils.TritonError.INVALID_ARG)
                return [pb_utils.InferenceResponse(error=error) for request in requests]
        """
    )
    with pytest.raises(InvalidArgError, match="not that"):
        served.infer(FLOATS)


def test_a_decoupled_model_sends(serve_model):
    served = serve_model(
        """
        class TritonPythonModel:
            def execute(self, requests):
                for request in requests:
                    sender = request.get_response_sender()
                    array = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()
                    for item in array:
                        output = pb_utils.Tensor("OUT", np.array([item]))
                        sender.send(pb_utils.InferenceResponse([output]))
                    sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
        """,
        decoupled=True,
    )
    assert [float(response["OUT"][0]) for response in served.stream(FLOATS)] == [0, 1, 2]


def test_a_sender_answers_in_default_mode(serve_model):
    served = serve_model(
        """
        import threading

        class TritonPythonModel:
            def execute(self, requests):
                for request in requests:
                    array = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()
                    response = pb_utils.InferenceResponse([pb_utils.Tensor("OUT", array + 1)])
                    sender = request.get_response_sender()
                    threading.Thread(target=sender.send, args=(response, 1)).start()
                return [None] * len(requests)
        """
    )
    np.testing.assert_array_equal(served.infer(FLOATS)["OUT"], [1, 2, 3])


def test_a_none_that_nobody_answers_is_an_error(serve_model):
    served = serve_model(
        """
        class TritonPythonModel:
            def execute(self, requests):
                return [None] * len(requests)
        """
    )
    with pytest.raises(InternalError, match="execute returned None for the request"):
        served.infer(FLOATS)


def test_initialize_gets_its_arguments_as_strings(serve_model):
    served = serve_model(
        """
        class TritonPythonModel:
            def initialize(self, args):
                assert all(type(value) is str for value in args.values()), args
                assert sorted(args) == ["model_config", "model_instance_device_id", "model_instance_kind",
                    "model_instance_name", "model_name", "model_repository", "model_version"]

            def execute(self, requests):
                return [pb_utils.InferenceResponse([request.inputs()[0]]) for request in requests]
        """,
        outputs={"IN": ("FP32", [-1])},
    )
    np.testing.assert_array_equal(served.infer(FLOATS)["IN"], [0, 1, 2])
