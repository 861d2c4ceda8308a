import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Answers at the third call for a request; 9 breaks the rule that it then gives None."""

    def initialize(self, args):
        self.calls = 0

    def execute(self, requests):
        self.calls += 1
        responses = []
        for request in requests:
            text = f"{self.calls} calls"
            response = pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.array([text], object))])
            breaks = int(request.inputs()[0].as_numpy()[0]) == 9
            if self.calls < 3 or breaks:
                request.set_release_flags(pb_utils.TRITONSERVER_REQUEST_RELEASE_RESCHEDULE)
                responses.append(response if breaks else None)
            else:
                self.calls = 0
                responses.append(response)
        return responses
