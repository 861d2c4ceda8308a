import threading

import numpy as np
import triton_python_backend_utils as pb_utils

FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL


def answer(*values, error=None, name="OUT"):
    tensors = [] if error else [pb_utils.Tensor(name, np.array([str(value) for value in values], object))]
    return pb_utils.InferenceResponse(tensors, error=error)


def failed(call):
    """The error that a call of the sender's ends with, sent as an answer."""
    try:
        call()
    except Exception as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"
    return "no error"


class TritonPythonModel:
    """Each request names the method that answers it."""

    def initialize(self, args):
        self.threads = []

    def execute(self, requests):
        results = []
        for request in requests:
            name = pb_utils.get_input_tensor_by_name(request, "WHAT").as_numpy()[0].decode()
            results.append(getattr(self, name)(request, request.get_response_sender()))
        return results[0]

    def finalize(self):
        for thread in self.threads:
            thread.join(5)

    def none(self, request, sender):
        sender.send(flags=FINAL)

    def one(self, request, sender):
        sender.send(answer(1), FINAL)

    def one_then_final(self, request, sender):
        sender.send(answer(1))
        sender.send(flags=FINAL)

    def many(self, request, sender):
        for number in range(5):
            sender.send(answer(number))
        sender.send(answer("last"), flags=FINAL)

    def keywords(self, request, sender):
        sender.send(response=answer(1), flags=FINAL)

    def flags_zero(self, request, sender):
        sender.send(answer(1), flags=0)
        sender.send(None, FINAL)

    def same_response_twice(self, request, sender):
        response = answer("same")
        sender.send(response)
        sender.send(answer("other"))
        sender.send(flags=FINAL)

    def no_sender_is_one(self, request, sender):
        again = request.get_response_sender()
        sender.send(answer(again is sender))
        again.send(flags=FINAL)

    def send_nothing(self, request, sender):
        text = failed(lambda: sender.send())
        sender.send(answer(text), FINAL)

    def send_none(self, request, sender):
        text = failed(lambda: sender.send(None))
        sender.send(answer(text), FINAL)

    def send_wrong_flag(self, request, sender):
        text = failed(lambda: sender.send(answer(1), flags=2))
        sender.send(answer(text), FINAL)

    def send_text(self, request, sender):
        text = failed(lambda: sender.send("text"))
        sender.send(answer(text), FINAL)

    def send_list(self, request, sender):
        text = failed(lambda: sender.send([answer(1)]))
        sender.send(answer(text), FINAL)

    def send_tensor(self, request, sender):
        text = failed(lambda: sender.send(pb_utils.Tensor("OUT", np.zeros(1))))
        sender.send(answer(text), FINAL)

    def send_flag_text(self, request, sender):
        text = failed(lambda: sender.send(answer(1), flags="1"))
        sender.send(answer(text), FINAL)

    def after_final(self, request, sender):
        sender.send(answer(1), FINAL)
        self.told = failed(lambda: sender.send(answer(2)))

    def after_empty_final(self, request, sender):
        sender.send(flags=FINAL)
        self.told = failed(lambda: sender.send(flags=FINAL))

    def tell(self, request, sender):
        sender.send(answer(self.told), FINAL)

    def error(self, request, sender):
        sender.send(answer(error=pb_utils.TritonError("bad", pb_utils.TritonError.NOT_FOUND)), FINAL)

    def error_in_the_middle(self, request, sender):
        sender.send(answer(1))
        sender.send(answer(error=pb_utils.TritonError("in the middle")))
        sender.send(answer(3))
        sender.send(flags=FINAL)

    def raises(self, request, sender):
        raise ValueError("before any")

    def raises_after_one(self, request, sender):
        sender.send(answer(1))
        raise ValueError("after one")

    def raises_after_final(self, request, sender):
        sender.send(answer(1), FINAL)
        raise ValueError("after the last")

    def returns_list(self, request, sender):
        return [answer(1)]

    def returns_text(self, request, sender):
        sender.send(answer(1))
        return "text"

    def returns_after_final(self, request, sender):
        sender.send(answer(1), FINAL)
        return [None]

    def unknown_output(self, request, sender):
        sender.send(answer(1, name="NO"))
        sender.send(answer(2), FINAL)

    def no_outputs(self, request, sender):
        sender.send(pb_utils.InferenceResponse([]))
        sender.send(pb_utils.InferenceResponse(), FINAL)

    def in_thread(self, request, sender):
        def run():
            for number in range(3):
                sender.send(answer(f"thread {number}"))
            sender.send(flags=FINAL)

        self.threads.append(threading.Thread(target=run))
        self.threads[-1].start()

    def in_thread_with_request(self, request, sender):
        goes_on = threading.Event()

        def run():
            goes_on.wait(5)
            sender.send(answer(request.request_id() != "", request.inputs()[0].as_numpy()[0].decode()))
            sender.send(flags=FINAL)

        self.threads.append(threading.Thread(target=run))
        self.threads[-1].start()
        goes_on.set()

    def cancelled(self, request, sender):
        sender.send(answer(request.is_cancelled(), sender.is_cancelled()), FINAL)

    def pruned(self, request, sender):
        sender.send(
            pb_utils.InferenceResponse(
                [
                    pb_utils.Tensor("OUT", np.array(["a"], object)),
                    pb_utils.Tensor("MORE", np.array([1], np.int32)),
                ]
            ),
            FINAL,
        )

    def is_release_all(self, request, sender):
        request.set_release_flags(pb_utils.TRITONSERVER_REQUEST_RELEASE_ALL)
        sender.send(answer("all"), FINAL)
