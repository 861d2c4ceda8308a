import numpy as np
import triton_python_backend_utils as pb_utils

seen = []


class TritonPythonModel:
    """What a warmup of the config looks like to the model."""

    def execute(self, requests):
        responses = []
        for request in requests:
            seen.append(request.inputs()[0].as_numpy().tolist())
            responses.append(
                pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.array([str(seen)], object))])
            )
        return responses
