import threading

import numpy as np
import triton_python_backend_utils as pb_utils

FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL


class TritonPythonModel:
    """Sends until the client is gone, and keeps in mind what it saw."""

    seen = "nothing"

    def execute(self, requests):
        for request in requests:
            sender = request.get_response_sender()
            if request.inputs()[0].as_numpy()[0] == b"tell":
                self.thread.join(10)
                self.send(sender, self.seen)
                sender.send(flags=FINAL)
            else:
                self.thread = threading.Thread(target=self.run, args=(request, sender))
                self.thread.start()

    def run(self, request, sender):
        pause = threading.Event()
        self.seen = "never cancelled"
        self.send(sender, "first")
        for _ in range(2000):
            if sender.is_cancelled():
                self.seen = f"cancelled {request.is_cancelled()} {sender.is_cancelled()}"
                break
            pause.wait(0.005)
        sender.send(flags=FINAL)

    def send(self, sender, text):
        sender.send(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.array([text], object))]))
