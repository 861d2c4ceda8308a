import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Keeps the request, its tensor and its array as attributes, which it should not."""

    def execute(self, requests):
        self.requests = requests
        self.tensor = requests[0].inputs()[0]
        self.array = self.tensor.as_numpy()
        return [
            pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.array([r.request_id() or "kept"], object))])
            for r in requests
        ]

    def finalize(self):
        pb_utils.Logger.log_info(f"diff-kept: {len(self.requests)}")
