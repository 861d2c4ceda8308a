import numpy as np
import triton_python_backend_utils as pb_utils
from probes import Probes, told


class TritonPythonModel(Probes):
    """Calls another model before it serves itself."""

    def initialize(self, args):
        self.found = told(self.call)

    def call(self):
        request = pb_utils.InferenceRequest(
            model_name="callee",
            requested_output_names=["OUT"],
            inputs=[pb_utils.Tensor("IN", np.array(["early"], object))],
        )
        return request.exec().output_tensors()[0].as_numpy().tolist()

    def early(self):
        return self.found
