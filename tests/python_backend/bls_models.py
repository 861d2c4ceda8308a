"""Models for the tests of calls: one whose ``act(self, request, target)`` does what a test wants."""

import textwrap
import threading

#: What the models of a test tell it, which run in its process.
told: list = []
seen: list = []
#: What a called model waits for.
gate = threading.Event()

#: ``act`` gives what becomes OUT: numbers. What it wants to tell the test goes into ``told``.
ACTING = """
import asyncio, gc, json, threading, time, weakref
from tests.python_backend.bls_models import seen, told

class TritonPythonModel:
    def initialize(self, args):
        self.config = json.loads(args["model_config"])
        self.target = self.config["parameters"]["target"]["string_value"]

    def execute(self, requests):
        outs = [np.asarray(act(self, request, self.target), np.float32) for request in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", out)]) for out in outs]

def asked(target, array, **more):
    inputs = [pb_utils.Tensor("IN", np.asarray(array, np.float32))]
    more = {"requested_output_names": ["OUT"], "inputs": inputs, **more}
    return pb_utils.InferenceRequest(model_name=target, **more)

def out(response):
    assert not response.has_error(), response.error().message()
    return pb_utils.get_output_tensor_by_name(response, "OUT").as_numpy()

def error(response):
    assert response.has_error()
    assert response.output_tensors() == []
    return [response.error().message(), response.error().code().name]
"""
DOUBLES = """
from tests.python_backend.bls_models import seen
class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            seen.append((request.request_id(), request.correlation_id(), request.flags(), request.timeout(),
                         request.parameters(), sorted(request.requested_output_names())))
            array = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", array * 2)]))
        return responses
"""
#: IN is how many responses there are, and what ends them: a flag with the last, or one of its own.
REPEATS = """
import threading, time
from tests.python_backend.bls_models import seen
go = threading.Event()
class TritonPythonModel:
    def execute(self, requests):
        for request in requests:
            thread = threading.Thread(target=self.work, args=(request, request.get_response_sender()))
            thread.start()
    def work(self, request, sender):
        count, ending = (int(n) for n in request.inputs()[0].as_numpy()[:2])
        for i in range(count):
            flags = 1 if ending == 1 and i == count - 1 else 0
            sender.send(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.float32([i]))]), flags)
        if ending == 2:
            until = time.monotonic() + 20
            while not sender.is_cancelled() and time.monotonic() < until:
                go.wait(0.005)
            seen.append(sender.is_cancelled())
            error = pb_utils.TritonError("stopped", pb_utils.TritonError.CANCELLED)
            sender.send(pb_utils.InferenceResponse(error=error))
        if ending != 1:
            sender.send(flags=1)
"""


def acting(act: str) -> str:
    """Give the source of the model that calls."""
    return ACTING + textwrap.dedent(act)
