import numpy as np
import triton_python_backend_utils as pb_utils

FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL


class TritonPythonModel:
    """As many responses for each request as it says, all of the batch in turn; the last request first."""

    def execute(self, requests):
        senders = [
            (request.get_response_sender(), int(request.inputs()[0].as_numpy()[0, 0])) for request in requests
        ]
        senders.sort(key=lambda pair: -pair[1])
        for number in range(max(count for _, count in senders)):
            for sender, count in senders:
                if number < count:
                    array = np.array([[number * 10 + len(requests)]], np.int32)
                    sender.send(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", array)]))
        for sender, count in senders:
            if count == 3:
                error = pb_utils.TritonError("three")
                sender.send(pb_utils.InferenceResponse(error=error))
            sender.send(flags=FINAL)
