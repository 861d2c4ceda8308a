"""Models that do what nobody should: each request is answered once, and the model can be unloaded."""

from __future__ import annotations

import concurrent.futures
import contextlib
import re
import sys
import threading
import time

import numpy as np
import pytest

from triton_backend_sdk import TritonError
from triton_backend_sdk.python_backend.owner import PythonModel, current
from triton_backend_sdk.python_backend.pb_error import TritonModelException

X = {"IN": np.arange(3, dtype=np.float32)}
LARGE = {"IN": np.arange(10_000, dtype=np.float32)}


def body(text: str, more: str = "") -> str:
    """Give a model whose execute is this."""
    lines = "\n".join(f"        {line}" for line in text.strip().splitlines())
    return f"import threading, time\n{more}\nclass TritonPythonModel:\n    def execute(self, requests):\n{lines}\n"


ONE = "pb_utils.InferenceResponse([pb_utils.Tensor('OUT', np.float32([1]))])"


def answer_of(served, inputs=X):
    """Give the one answer of a request: an array, or the text of an error."""
    answers = served.responses(inputs)
    assert len(answers) == 1, answers
    return str(answers[0]) if isinstance(answers[0], TritonError) else answers[0]["OUT"].tolist()


@pytest.mark.parametrize("decoupled", [False, True])
def test_a_model_that_takes_its_requests_out_of_the_list_and_fails(serve_model, decoupled):
    served = serve_model(
        body(
            """
kept.append(requests[0].get_response_sender())
requests.pop()
raise ValueError("no")
""",
            "kept = []",
        ),
        decoupled=decoupled,
    )
    assert "ValueError: no" in answer_of(served)
    assert "ValueError: no" in answer_of(served)


def test_requests_taken_out_of_the_list_are_told_as_in_the_stock_backend(serve_model):
    served = serve_model(
        body(f"result = []\nwhile requests:\n    requests.pop()\n    result.append({ONE})\nreturn result")
    )
    assert "InferenceRequest(s) size is:0, and InferenceResponse(s) size is:1" in answer_of(served)


def test_a_decoupled_model_may_take_its_requests_out_of_the_list(serve_model):
    served = serve_model(
        body(
            f"""
while requests:
    sender = requests.pop().get_response_sender()
    sender.send({ONE}, flags=1)
"""
        ),
        decoupled=True,
    )
    assert answer_of(served) == [1]


@pytest.mark.parametrize("raises", ["SystemExit", "Odd()"])
def test_a_stream_ends_with_an_error_that_cannot_be_told(serve_model, raises):
    served = serve_model(
        body(
            "kept.append(requests[0].get_response_sender())\nraise Odd()",
            f"kept = []\nclass Odd(Exception):\n    def __str__(self):\n        raise {raises}\n",
        ),
        decoupled=True,
    )
    assert "Odd: <MESSAGE UNAVAILABLE DUE TO ANOTHER EXCEPTION>" in answer_of(served)


def test_the_list_of_inputs_is_the_callers_own(serve_model):
    served = serve_model(
        body(
            """
requests[0].inputs().clear()
tensor = pb_utils.get_input_tensor_by_name(requests[0], "IN")
return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", tensor.as_numpy())])]
"""
        )
    )
    assert answer_of(served) == [0, 1, 2]


@pytest.mark.parametrize(
    "text",
    [
        'raise ValueError("\\udc80 no")',
        'raise ValueError("a\\0b")',
        'return [pb_utils.InferenceResponse(error=pb_utils.TritonError("\\udc80 no"))]',
        'return [pb_utils.InferenceResponse(error=pb_utils.TritonError("a\\0b"))]',
        'return [pb_utils.InferenceResponse([], parameters={"a": "\\udc80"})]',
        f'return [{ONE[:-1]}, parameters={{"\\udc80": 1}})]',
        'return [pb_utils.InferenceResponse([pb_utils.Tensor("\\udc80", np.zeros(1, np.float32))])]',
        'return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.array(["\\udc80"], object))])]',
        "raise KeyboardInterrupt",
        "raise GeneratorExit",
        "raise StopIteration",
        "raise SystemExit(3)",
        "import sys; sys.exit()",
        "yield 1",
        "return (None,)",
        "return {}",
        "return [1]",
        "return [NotImplemented]",
        "return [[None]]",
        "return NotImplemented",
        "return 3",
        "def down(): down()\ndown()",
        "raise type('Odd', (BaseException,), {'__str__': lambda self: 3})",
        "raise type('Odd', (BaseException,), {'__str__': lambda self: 1 / 0})",
        "raise type('Odd', (BaseException,), {'__str__': lambda self: (_ for _ in ()).throw(SystemExit)})",
        "raise ExceptionGroup('several', [ValueError('a')])" if sys.version_info >= (3, 11) else "raise 3",
        "del requests[0]._request\nreturn [None]",
        f"requests[0] = None\nreturn [{ONE}]",
        "requests[0] = None\nreturn [None]",
        f"requests.append(requests[0])\nreturn [{ONE}, {ONE}]",
        "requests.append(None)\nraise ValueError",
        f"requests[0].set_release_flags(2)\nreturn [{ONE}]",
        f"requests[0].set_release_flags(3)\nreturn [{ONE}]",
        f"requests[0].set_release_flags(0)\nreturn [{ONE}]",
        "requests[0].get_response_sender()\nreturn [None]",
        f"requests[0].get_response_sender().send({ONE})\nreturn [{ONE}]",
        f"requests[0].get_response_sender().send({ONE})\nraise ValueError",
        f"requests[0].get_response_sender().send({ONE})\nreturn 3",
    ],
)
def test_every_request_is_answered_once(serve_model, text):
    served = serve_model(body(text))
    for _ in range(2):
        answer_of(served)
    served.core.unload(served.name)


@pytest.mark.parametrize(
    "text",
    [
        "requests.clear()",
        "requests[0].get_response_sender()\nrequests.clear()",
        "requests[0] = None",
        "raise KeyboardInterrupt",
        "requests.clear()\nraise KeyboardInterrupt",
        "return [None]",
        "yield 1",
        "requests[0].get_response_sender().send(3)",
        "requests[0].get_response_sender().send(pb_utils.InferenceResponse(error=pb_utils.TritonError('\\udc80')), 1)",
        "requests[0].get_response_sender().send(pb_utils.InferenceResponse(error=pb_utils.TritonError('a')), 1)\nraise ValueError",
        "requests[0].get_response_sender().send(flags=1)\nraise ValueError",
    ],
)
@pytest.mark.parametrize("coroutine", ["", "async "])
def test_every_stream_ends(serve_model, text, coroutine):
    if coroutine and "yield" in text:
        return
    served = serve_model(body(text).replace("def execute", f"{coroutine}def execute"), decoupled=True)
    for _ in range(2):
        assert len(served.responses(X)) <= 1
    served.core.unload(served.name)


def test_a_request_that_is_kept_and_answered_later_does_not_hold_the_model(serve_model):
    served = serve_model(
        body(
            f"""
kept.append(requests[0])
def later(sender=requests[0].get_response_sender()):
    time.sleep(0.05)
    sender.send({ONE})
threading.Thread(target=later).start()
return [None]
""",
            "kept = []",
        )
    )
    assert answer_of(served, LARGE) == [1]
    assert served.core.wait_released(5), served.core.live_objects()
    served.core.unload(served.name)


@pytest.mark.parametrize(
    "look", ["pass", "kept.append(requests[0].inputs()[0].as_numpy())", "requests[0].inputs()"]
)
@pytest.mark.parametrize("coroutine", ["", "async "])
def test_a_decoupled_request_that_is_kept_does_not_hold_the_model(serve_model, coroutine, look):
    served = serve_model(
        body(
            f"""
kept.append(requests[0])
{look}
requests[0].get_response_sender().send({ONE}, flags=1)
""",
            "kept = []",
        ).replace("def execute", f"{coroutine}def execute"),
        decoupled=True,
    )
    assert answer_of(served, LARGE) == [1]
    assert served.core.wait_released(5), served.core.live_objects()
    served.core.unload(served.name)


@pytest.mark.parametrize("name", ["", " ", "a b", "1a", "é", "a\\0b", "x" * 10_000, "__a"])
@pytest.mark.parametrize("what", ["family", "label", "value"])
def test_names_of_metrics_that_there_cannot_be(serve_model, name, what):
    arguments = ["ok", "a", "b"]
    arguments[["family", "label", "value"].index(what)] = name
    served = serve_model(
        body(
            f"""
try:
    family = pb_utils.MetricFamily("{arguments[0]}", "text", pb_utils.MetricFamily.GAUGE)
    family.Metric({{"{arguments[1]}": "{arguments[2]}"}}).set(1)
except pb_utils.TritonModelException:
    pass
return [{ONE}]
"""
        ),
        core_options={"metrics": True},
    )
    answer_of(served)
    assert answer_of(served) == [1]
    served.core.metrics_text()


def test_a_sender_and_the_end_of_execute_at_once(serve_model):
    served = serve_model(
        body(
            f"""
sender = requests[0].get_response_sender()
go = threading.Event()
def later():
    go.wait()
    try:
        sender.send({ONE})
    except BaseException as error:
        errors.append(repr(error))
thread = threading.Thread(target=later)
thread.start()
go.set()
return [None]
""",
            "errors = []\nimport sys\nsys.setswitchinterval(1e-6)",
        )
        + "\n    def finalize(self):\n        sys.setswitchinterval(0.005)\n        for error in errors: pb_utils.Logger.log_error(error)\n"
    )
    for _ in range(1000):
        assert answer_of(served) == [1]
    served.core.unload(served.name)
    assert "Error" not in served.log


def test_reloads_under_traffic(serve_model):
    source = """
    import helper
    class TritonPythonModel:
        def execute(self, requests):
            import helper as again
            assert again is helper
            return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", r.inputs()[0].as_numpy() * helper.TWO)]) for r in requests]
    """
    served = serve_model(source, helpers={"helper.py": "TWO = 2\n"}, instances=3)
    end = time.monotonic() + 3
    gone = re.compile("not ready|no available version|unknown model")

    def ask():
        asked = 0
        while time.monotonic() < end:
            [answer] = served.responses(X)
            if isinstance(answer, TritonError):
                assert gone.search(str(answer)), answer
            else:
                assert answer["OUT"].tolist() == [0, 2, 4]
                asked += 1
        return asked

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        while time.monotonic() < end:
            served.core.load(served.name)
        assert sum(one.result() for one in asking) > 0


@pytest.mark.parametrize(
    "error", ["ValueError('no')", "OSError('read-only')", "ValueError('it is read-only')"]
)
def test_a_model_that_fails_runs_once(serve_model, error):
    served = serve_model(
        body(
            f"print('ran ' + 'once'); pb_utils.Logger.log_error('it ran')\nrequests[0].inputs()\nraise {error}"
        ),
        name="readonly",
    )
    answer_of(served, LARGE)
    assert served.log.count("it ran") == 1
    assert "its inputs are copied" not in served.log


@pytest.mark.parametrize("kept", ["requests", "requests[0]", "requests[0].inputs()"])
def test_what_a_model_keeps_when_it_fails_does_not_hold_it(serve_model, kept):
    served = serve_model(body(f"kept.append({kept})\nraise ValueError('no')", "kept = []"))
    for _ in range(2):
        assert "ValueError: no" in answer_of(served, LARGE)
    served.core.unload(served.name)


def test_whose_a_call_is_while_others_come_and_go(serve_model):
    served = serve_model(body(f"return [{ONE}]"))
    stop = threading.Event()

    def come_and_go():
        while not stop.is_set():
            PythonModel(None, None).close()

    threads = [threading.Thread(target=come_and_go) for _ in range(2)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for _ in range(3000):
            with contextlib.suppress(
                TritonModelException, AttributeError
            ):  # of several, some without a model
                current()
    finally:
        sys.setswitchinterval(interval)
        stop.set()
        for thread in threads:
            thread.join()
    assert answer_of(served) == [1]
