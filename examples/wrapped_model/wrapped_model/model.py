"""A model.py as it lay in a model repository: nothing in it knows of the SDK."""

import json

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Standardizes sensor readings: how many deviations they lie from the mean."""

    def initialize(self, args):
        config = json.loads(args["model_config"])
        parameters = {key: value["string_value"] for key, value in config["parameters"].items()}
        self.mean = float(parameters["mean"])
        self.deviation = float(parameters["deviation"])
        output = pb_utils.get_output_config_by_name(config, "SCORE")
        self.dtype = pb_utils.triton_string_to_numpy(output["data_type"])

    def execute(self, requests):
        return [self.answer(pb_utils.get_input_tensor_by_name(request, "READING")) for request in requests]

    def answer(self, reading):
        values = reading.as_numpy()
        if np.isnan(values).any():
            error = pb_utils.TritonError("READING has gaps (NaN)", pb_utils.TritonError.INVALID_ARG)
            return pb_utils.InferenceResponse(error=error)
        score = (values - self.mean) / self.deviation
        return pb_utils.InferenceResponse([pb_utils.Tensor("SCORE", score.astype(self.dtype))])
