import threading

import numpy as np
import triton_python_backend_utils as pb_utils

FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL


def answer(value):
    return pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.array([str(value)], object))])


class TritonPythonModel:
    """Senders in default mode: one response, sent or returned."""

    told = "nothing"

    def execute(self, requests):
        [request] = requests
        name = request.inputs()[0].as_numpy()[0].decode()
        return getattr(self, name)(request.get_response_sender())

    def sends(self, sender):
        sender.send(answer(1), FINAL)
        return [None]

    def sends_and_returns_none(self, sender):
        sender.send(answer(1), FINAL)

    def sends_without_final(self, sender):
        sender.send(answer(1))
        sender.send(flags=FINAL)
        return [None]

    def final_first(self, sender):
        try:
            sender.send(flags=FINAL)
        except pb_utils.TritonModelException as error:
            return [answer(error)]
        return [None]

    def sends_two(self, sender):
        sender.send(answer(1))
        try:
            sender.send(answer(2))
        except pb_utils.TritonModelException as error:
            self.told = str(error)
        sender.send(flags=FINAL)
        return [None]

    def sends_and_returns(self, sender):
        sender.send(answer(1), FINAL)
        return [answer(2)]

    def after_final(self, sender):
        sender.send(answer(1), FINAL)
        try:
            sender.send(flags=FINAL)
        except pb_utils.TritonModelException as error:
            self.told = str(error)
        return [None]

    def tell(self, sender):
        return [answer(self.told)]

    def in_thread(self, sender):
        threading.Thread(target=sender.send, args=(answer("thread"), FINAL)).start()
        return [None]

    def raises_after_sending(self, sender):
        sender.send(answer(1), FINAL)
        raise ValueError("after the response")

    def unused(self, sender):
        return [answer("returned")]

    def error(self, sender):
        response = pb_utils.InferenceResponse(
            error=pb_utils.TritonError("sent", pb_utils.TritonError.UNSUPPORTED)
        )
        sender.send(response, FINAL)
        return [None]

    def other_output(self, sender):
        sender.send(pb_utils.InferenceResponse([pb_utils.Tensor("NO", np.zeros(1))]), FINAL)
        return [None]
