import numpy as np
import triton_python_backend_utils as pb_utils
from probes import Probes


def request(count, model="callee_stream", outputs=("OUT",), **more):
    return pb_utils.InferenceRequest(
        model_name=model,
        requested_output_names=list(outputs),
        inputs=[pb_utils.Tensor("IN", np.array([count], np.int32))],
        **more,
    )


def shown(response):
    if response.has_error():
        return "error", response.error().message()
    return [(tensor.name(), tensor.as_numpy().tolist()) for tensor in response.output_tensors()]


class TritonPythonModel(Probes):
    def three(self):
        return [shown(response) for response in request(3).exec(decoupled=True)]

    def one(self):
        return [shown(response) for response in request(1).exec(decoupled=True)]

    def zero(self):
        return [shown(response) for response in request(0).exec(decoupled=True)]

    def error(self):
        return [shown(response) for response in request(-1).exec(decoupled=True)]

    def kind(self):
        responses = request(1).exec(decoupled=True)
        kind = type(responses).__name__
        return kind, len(list(responses))

    def next_by_hand(self):
        responses = request(2).exec(decoupled=True)
        found = [shown(next(responses)), shown(next(responses)), shown(next(responses))]
        try:
            next(responses)
        except StopIteration:
            found.append("over")
        return found

    def twice(self):
        responses = request(2).exec(decoupled=True)
        first = [shown(response) for response in responses]
        return first, [shown(response) for response in responses]

    def iter_is_itself(self):
        responses = request(1).exec(decoupled=True)
        same = iter(responses) is responses
        return same, [shown(response) for response in responses]

    def left_early(self):
        for response in request(5).exec(decoupled=True):
            first = shown(response)
            break
        return first

    def two_at_once(self):
        first, second = request(2).exec(decoupled=True), request(3).exec(decoupled=True)
        return [shown(r) for r in second], [shown(r) for r in first]

    def not_asked_for(self):
        return shown(request(1).exec())

    def unknown_output(self):
        return [shown(response) for response in request(1, outputs=["NO"]).exec(decoupled=True)]

    def unknown_model(self):
        return [shown(response) for response in request(1, model="no_such_model").exec(decoupled=True)]

    def responses_kept(self):
        return [shown(response) for response in list(request(4).exec(decoupled=True))]

    def no_constructor(self):
        import c_python_backend_utils as c

        return c.ResponseIterator()

    def cancel(self):
        responses = request(2).exec(decoupled=True)
        return responses.cancel(), len(list(responses)) > 0
