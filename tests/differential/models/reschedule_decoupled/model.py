import numpy as np
import triton_python_backend_utils as pb_utils

FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL


class TritonPythonModel:
    """Counts down, a response each time it is called."""

    def initialize(self, args):
        self.left = {}
        self.calls = 0

    def execute(self, requests):
        self.calls += 1
        for request in requests:
            key = request.correlation_id()
            if key not in self.left:
                self.left[key] = int(request.inputs()[0].as_numpy()[0])
            self.left[key] -= 1
            text = f"{self.left[key]} left, flags {request.flags()}"
            response = pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.array([text], object))])
            sender = request.get_response_sender()
            if self.left[key] > 0:
                request.set_release_flags(pb_utils.TRITONSERVER_REQUEST_RELEASE_RESCHEDULE)
                sender.send(response)
            else:
                del self.left[key]
                sender.send(response, flags=FINAL)
