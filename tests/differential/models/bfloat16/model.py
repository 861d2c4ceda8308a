import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """BF16 comes as an array only where there is such an array."""

    def execute(self, requests):
        responses = []
        for request in requests:
            try:
                array = request.inputs()[0].as_numpy()
                text = "None" if array is None else f"{np.asarray(array, np.float32).tolist()}"
            except Exception as error:
                text = f"{type(error).__name__}: {error}"
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.array([text], object))]))
        return responses
