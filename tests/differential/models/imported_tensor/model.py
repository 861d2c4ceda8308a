import numpy as np
from triton_python_backend_utils import InferenceResponse, Tensor


class TritonPythonModel:
    """Imports the classes at the top."""

    def execute(self, requests):
        return [InferenceResponse([Tensor("OUT", np.array(["x"], object))]) for _ in requests]
