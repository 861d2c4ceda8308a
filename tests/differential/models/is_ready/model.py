import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Says that it is not ready after a request "no"; the stock backend of 24.10 does not ask."""

    ready = True

    def is_ready(self):
        return self.ready

    def execute(self, requests):
        self.ready = requests[0].inputs()[0].as_numpy()[0] != b"no"
        return [
            pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.array(["x"], object))]) for _ in requests
        ]
