import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """No config at all but the backend: everything is completed."""

    @staticmethod
    def auto_complete_config(config):
        before = sorted(config.as_dict())
        assert config.as_dict()["max_batch_size"] == 0, before
        config.add_input({"name": "IN", "data_type": "TYPE_FP32", "dims": [4]})
        config.add_input({"name": "MAYBE", "data_type": "TYPE_STRING", "dims": [-1], "optional": True})
        config.add_output({"name": "OUT", "data_type": "TYPE_FP32", "dims": [4]})
        config.set_max_batch_size(8)
        config.set_dynamic_batching()
        return config

    def execute(self, requests):
        return [
            pb_utils.InferenceResponse(
                [pb_utils.Tensor("OUT", request.inputs()[0].as_numpy() * np.float32(2))]
            )
            for request in requests
        ]
