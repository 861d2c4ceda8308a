"""Models that do what no model should: every client is answered, and nothing is left behind."""

from __future__ import annotations

import contextlib
import gc

import numpy as np
import pytest

from triton_backend_sdk import InternalError, TritonError

FLOATS = {"IN": np.arange(3, dtype=np.float32)}
LARGE = {"IN": np.arange(10_000, dtype=np.float32)}


def body(lines, more=""):
    return f"""
{more}
class TritonPythonModel:
    kept = []

    def execute(self, requests):
        x = requests[0].inputs()[0].as_numpy()
        answer = pb_utils.InferenceResponse([pb_utils.Tensor("OUT", x)])
{chr(10).join(" " * 8 + line for line in lines.splitlines())}
"""


@pytest.mark.parametrize(
    "lines",
    [
        "self.kept.append(answer); return [self.kept[0]]",
        "self.kept.append(answer.output_tensors()[0]); return [pb_utils.InferenceResponse([self.kept[0]])]",
        "self.kept.append(requests[0].inputs()[0]); return [pb_utils.InferenceResponse([pb_utils.Tensor('OUT', self.kept[0].as_numpy())])]",
        "self.kept.append(requests); return [answer]",
        "self.kept.append((requests[0], requests[0].get_response_sender())); return [answer]",
        "self.kept.append(lambda: x); return [answer]",
        "cycle = [answer, requests]; cycle.append(cycle); return [answer]",
        "requests.clear(); return [answer]",
        "requests.append(3); return [answer]",
        "pb_utils.InferenceRequest = pb_utils.Tensor = None; del pb_utils.InferenceResponse; return [answer]",
        "answer.__class__ = type('Mine', (type(answer),), {'__slots__': ()}); return [answer]",
    ],
)
@pytest.mark.parametrize("inputs", [FLOATS, LARGE], ids=["small", "large"])
def test_what_a_model_keeps_or_spoils_holds_nobody_up(serve_model, lines, inputs):
    served = serve_model(body(lines))
    spoils = "pb_utils.Inference" in lines or "requests." in lines
    for _ in range(3):
        with contextlib.suppress(*[TritonError] * spoils):
            assert served.infer(inputs)["OUT"].tolist() == inputs["IN"].tolist()
    served.core.unload(served.name)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("return [answer, answer]", "Number of InferenceResponse objects"),
        ("return [requests[0]]", "found type '<class 'c_python_backend_utils.InferenceRequest'>'"),
        ("return (answer,)", "found type '<class 'tuple'>'"),
        ("return {}", "found type '<class 'dict'>'"),
        ("yield answer", "found type '<class 'generator'>'"),
        ("return [pb_utils.InferenceResponse([answer])]", "incompatible constructor arguments"),
        (
            "s = requests[0].get_response_sender(); s.send(answer, 1); return [answer]",
            "cannot send more than one",
        ),
    ],
)
def test_what_a_model_does_wrong_is_told(serve_model, lines, told):
    served = serve_model(body(lines))
    if "s.send" in lines:
        assert served.infer(FLOATS)["OUT"].tolist() == [0, 1, 2]
        assert served.core.wait_released(5)
        assert told in served.log
        return
    with pytest.raises(InternalError) as raised:
        served.infer(FLOATS)
    assert told in raised.value.message
    with pytest.raises(InternalError):
        served.infer(FLOATS)


def test_subclasses_do(serve_model):
    served = serve_model(
        """
        class Tensor(pb_utils.Tensor):
            def __init__(self, array):
                super().__init__("OUT", array)

            def __del__(self):
                self.name()

        class Response(pb_utils.InferenceResponse):
            def __init__(self, array):
                super().__init__([Tensor(array)])
                self.more = 3

        class TritonPythonModel:
            def execute(self, requests):
                return [Response(request.inputs()[0].as_numpy()) for request in requests]
        """
    )
    assert served.infer(LARGE)["OUT"][9] == 9


@pytest.mark.parametrize("inputs", [FLOATS, LARGE], ids=["small", "large"])
def test_many_requests_leave_nothing(serve_model, inputs):
    served = serve_model(body("return [answer]"))
    for _ in range(20):
        served.infer(inputs)
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(300):
        served.infer(inputs)
    gc.collect()
    assert len(gc.get_objects()) - before < 50
    assert served.core.wait_released(5)
