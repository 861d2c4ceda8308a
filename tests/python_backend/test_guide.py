"""What the guide says is better than in the stock backend, where no other test shows it."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest

from triton_backend_sdk import InternalError

ANSWERS = """
class TritonPythonModel:
    def execute(self, requests):
        array = pb_utils.get_input_tensor_by_name(requests[0], "IN").as_numpy()
        {act}
        return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", array)], parameters={parameters})]
"""


def test_bfloat16_is_an_array(serve_model):
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    served = serve_model(
        ANSWERS.format(act="assert array.dtype.name == 'bfloat16'; array = array + array", parameters={}),
        inputs={"IN": ("BF16", [-1])},
        outputs={"OUT": ("BF16", [-1])},
    )
    assert served.infer({"IN": np.array([1.5, 2], bfloat16)})["OUT"].tolist() == [3, 4]


def test_a_parameter_may_be_a_float(serve_model):
    served = serve_model(ANSWERS.format(act="", parameters={"seconds": 0.25, "n": 1, "ok": True, "s": "x"}))
    answer = served.infer({"IN": np.zeros(1, np.float32)})
    assert answer.parameters == {"seconds": 0.25, "n": 1, "ok": True, "s": "x"}


def test_calls_under_way_need_no_threads(serve_model):
    slow = serve_model(
        """
        import time

        class TritonPythonModel:
            def execute(self, requests):
                time.sleep(0.05)
                outputs = [pb_utils.Tensor("OUT", np.zeros(1, np.float32))]
                return [pb_utils.InferenceResponse(outputs) for _ in requests]
        """,
        batch=0,
    )
    served = serve_model(
        """
        import asyncio
        import json
        import threading

        class TritonPythonModel:
            def initialize(self, args):
                self.slow = json.loads(args["model_config"])["parameters"]["slow"]["string_value"]

            async def execute(self, requests):
                before = threading.active_count()
                calls = [
                    pb_utils.InferenceRequest(
                        model_name=self.slow, inputs=requests[0].inputs(), requested_output_names=["OUT"]
                    ).async_exec()
                    for _ in range(20)
                ]
                await asyncio.sleep(0.02)
                out = np.array([threading.active_count() - before], np.float32)
                await asyncio.gather(*calls)
                return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", out)]) for _ in requests]
        """,
        beside=slow,
        parameters={"slow": slow.name},
    )
    started = threading.active_count()
    assert (
        served.infer({"IN": np.zeros(1, np.float32)})["OUT"][0] <= 1
    )  # the callee's own, at its first request
    assert threading.active_count() <= started + 3


def test_a_sender_that_is_forgotten_is_told_to_the_client(serve_model):
    served = serve_model(
        """
        class TritonPythonModel:
            def execute(self, requests):
                for request in requests:
                    request.get_response_sender()
                return [None] * len(requests)
        """
    )
    with pytest.raises(InternalError):
        served.infer({"IN": np.zeros(1, np.float32)})
    gc.collect()
    assert served.core.wait_released(5)


def test_a_batch_that_exits_is_an_error_and_the_server_goes_on(serve_model):
    served = serve_model(
        """
        import sys

        class TritonPythonModel:
            def execute(self, requests):
                if pb_utils.get_input_tensor_by_name(requests[0], "IN").as_numpy()[0]:
                    sys.exit("enough")
                return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.zeros(1, np.float32))])]
        """
    )
    with pytest.raises(InternalError, match="SystemExit: enough"):
        served.infer({"IN": np.ones(1, np.float32)})
    assert served.infer({"IN": np.zeros(1, np.float32)})["OUT"].tolist() == [0]
