import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """As many responses as IN says; below zero, an error after two."""

    def execute(self, requests):
        for request in requests:
            sender = request.get_response_sender()
            count = int(request.inputs()[0].as_numpy()[0])
            for number in range(count if count >= 0 else 2):
                sender.send(
                    pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.array([number], np.int32))])
                )
            if count < 0:
                sender.send(pb_utils.InferenceResponse(error=pb_utils.TritonError("below zero")))
            sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
