import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Controls come as inputs of their own."""

    def execute(self, requests):
        responses = []
        for request in requests:
            told = sorted(
                f"{t.name()}={t.as_numpy().tolist()} {t.as_numpy().dtype.name}" for t in request.inputs()
            )
            responses.append(
                pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.array([str(told)], object))])
            )
        return responses
