"""Calls where one would not expect them, and what they leave behind."""

from __future__ import annotations

import gc
import threading
import time

import numpy as np
import pytest

from tests.python_backend.bls_models import DOUBLES, REPEATS, acting, gate, seen, told
from tests.python_backend.conftest import HEADER

ONES = {"IN": np.ones(2, np.float32)}


@pytest.fixture
def called(serve_model):
    told.clear()
    seen.clear()
    return serve_model(DOUBLES, name="called")


def calling(serve_model, act, called, **config):
    return serve_model(acting(act), name="caller", beside=called, parameters={"target": "called"}, **config)


def test_a_destructor_calls(called, serve_model):
    caller = calling(
        serve_model,
        """
        class Last:
            def __init__(self, target):
                self.target, self.cycle = target, self
            def __del__(self):
                told.append(out(asked(self.target, [4]).exec())[0])
        def act(self, request, target):
            Last(target)
            gc.collect()
            return [1]
        """,
        called,
    )
    caller.infer(ONES)
    assert told == [8]


def test_a_model_calls_from_a_thread_of_its_own_until_it_goes(called, serve_model):
    caller = calling(
        serve_model,
        """
        def act(self, request, target):
            self.thread = threading.Thread(target=self.work)
            self.thread.start()
            return [1]
        def work(self):
            while not told:
                response = asked(self.target, [1]).exec()
                if response.has_error():
                    told.append(response.error().message())
        TritonPythonModel.work = work
        """,
        called,
    )
    caller.infer(ONES)
    caller.core.unload("called")
    until = time.monotonic() + 20
    while not told and time.monotonic() < until:
        time.sleep(0.01)
    assert told[0].startswith("Model called - Error when running inference: ")


def test_a_request_outlives_the_model_that_made_it(called, serve_model):
    caller = calling(
        serve_model,
        """
        def act(self, request, target):
            told.append(asked(target, [1]))
            told.append(pb_utils)
            return [1]
        """,
        called,
    )
    caller.infer(ONES)
    caller.core.unload("caller")
    assert caller.core.wait_released(5)
    response = told[0].exec()
    assert "unloaded" in response.error().message()
    (only,) = told[0].exec(decoupled=True)
    assert "unloaded" in only.error().message()
    with pytest.raises(Exception, match=r"Failed to load model: .* unloaded"):
        told[1].load_model("called")
    told.clear()


def test_outputs_outlive_both_models(called, serve_model):
    caller = calling(
        serve_model,
        """
        def act(self, request, target):
            told.append(asked(target, np.arange(1000)).exec())
            return [1]
        """,
        called,
    )
    caller.infer(ONES)
    for name in ("caller", "called"):
        caller.core.unload(name)
    assert caller.core.wait_released(5)
    array = told.pop().output_tensors()[0].as_numpy()
    gc.collect()
    array += 1
    assert array.sum() == 2 * sum(range(1000)) + 1000


def test_a_call_under_way_when_its_model_goes(serve_model):
    told.clear()
    seen.clear()
    gate.clear()
    called = serve_model(
        """
        from tests.python_backend.bls_models import gate, seen
        class TritonPythonModel:
            def execute(self, requests):
                seen.append(1)
                gate.wait(20)
                return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", r.inputs()[0].as_numpy())]) for r in requests]
        """,
        name="called",
    )
    caller = calling(
        serve_model, "def act(self, request, target): return out(asked(target, [5]).exec())", called
    )
    pending = caller.send(ONES)
    until = time.monotonic() + 20
    while not seen and time.monotonic() < until:
        time.sleep(0.001)
    gone = threading.Thread(target=caller.core.unload, args=["called"])
    gone.start()
    gate.set()
    assert pending.result(20)["OUT"].tolist() == [5]
    gone.join(20)


def test_nothing_is_left_of_many_calls(serve_model):
    told.clear()
    seen.clear()
    called = serve_model(REPEATS, name="called", decoupled=True)
    caller = calling(
        serve_model,
        """
        async def some(target):
            return await asyncio.gather(*[asked(target, [1, i % 2]).async_exec(decoupled=True) for i in range(10)])
        def act(self, request, target):
            responses = []
            for i in range(10):
                request = asked(target, [1, i % 2])
                told.append(weakref.ref(request))
                iterator = request.exec(decoupled=True)
                told.append(weakref.ref(iterator))
                for response in iterator:
                    told.append(weakref.ref(response))
                    told.extend(weakref.ref(tensor) for tensor in response.output_tensors())
                refused = asked("nobody", [1]).exec()
                told.append(weakref.ref(refused))
            told.extend(weakref.ref(iterator) for iterator in asyncio.run(some(target)))
            return [1]
        """,
        called,
    )
    caller.infer(ONES)
    assert caller.core.wait_released(5)
    gc.collect()
    assert len(told) > 60
    assert [one for one in told if one() is not None] == []


def test_a_failed_call_leaves_no_cycle(called, serve_model):
    caller = calling(
        serve_model,
        """
        class Held(np.ndarray):
            pass
        def act(self, request, target):
            gc.disable()
            held = np.zeros(3).view(Held)
            told.append(weakref.ref(held))
            asked(target, [], inputs=[pb_utils.Tensor("IN", held)]).exec()
            del held
            gc.enable()
            return [told[0]() is not None]
        """,
        called,
    )
    assert caller.infer(ONES)["OUT"].tolist() == [0]


def test_two_models_that_call_each_other_are_not_stuck(serve_model):
    told.clear()
    act = """
        def act(self, request, target):
            level = int(request.inputs()[0].as_numpy()[0])
            if level == 0:
                return [0]
            response = asked(target, [level - 1]).exec()
            return [-1] if response.has_error() else out(response) + 1
    """
    first = serve_model(acting(act), name="first", load=False, parameters={"target": "second"})
    second = serve_model(acting(act), name="second", beside=first, load=False, parameters={"target": "first"})
    first.core.load("first")
    first.core.load("second")
    assert first.infer({"IN": np.float32([1])})["OUT"].tolist() == [1]
    assert second.infer({"IN": np.float32([2])})["OUT"].tolist() == [0]
    pending = [served.send({"IN": np.float32([1])}) for _ in range(20) for served in (first, second)]
    assert all(one.result(20)["OUT"][0] in (1, -1) for one in pending)


def test_a_client_that_gives_up_does_not_cancel_what_its_request_called(serve_model):
    seen.clear()
    told.clear()
    gate.clear()
    called = serve_model(
        """
        from tests.python_backend.bls_models import gate, seen
        class TritonPythonModel:
            def execute(self, requests):
                seen.append("in")
                gate.wait(20)
                seen.append(requests[0].is_cancelled())
                return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.float32([1]))])]
        """,
        name="called",
    )
    caller = calling(
        serve_model,
        """
        def act(self, request, target):
            response = asked(target, [5], trace=request.trace()).exec()
            told.append([request.is_cancelled(), response.has_error()])
            return [0]
        """,
        called,
    )
    pending = caller.send(ONES)
    until = time.monotonic() + 20
    while not seen and time.monotonic() < until:
        time.sleep(0.001)
    pending.cancel_request()
    gate.set()
    assert caller.core.wait_released(10)
    assert seen == ["in", False]
    assert told == [[True, False]]


def test_hands_in_many_threads_make_calls_at_once(called, serve_model):
    caller = calling(
        serve_model,
        """
        def act(self, request, target):
            wrong = []
            def work(i):
                for j in range(25):
                    if out(asked(target, [i, j]).exec()).tolist() != [2 * i, 2 * j]:
                        wrong.append((i, j))
            threads = [threading.Thread(target=work, args=[i]) for i in range(16)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(20)
            return [len(wrong), len(seen)]
        """,
        called,
    )
    assert caller.infer(ONES)["OUT"].tolist() == [0, 400]


def test_a_model_that_comes_back_decoupled_is_asked_for_as_such(called, serve_model):
    caller = calling(
        serve_model,
        """
        def act(self, request, target):
            told.append(out(asked(target, [2, 0]).exec()).tolist())
            config = {**self.config, "name": target, "model_transaction_policy": {"decoupled": True}}
            pb_utils.load_model(target, json.dumps(config), {"file:1/model.py": SOURCE})
            for _ in range(2):
                told.append(error(asked(target, [2, 0]).exec())[0][-70:])
            return [len(list(asked(target, [2, 0]).exec(decoupled=True)))]
        """.replace("SOURCE", repr((HEADER + REPEATS).encode())),
        called,
    )
    assert caller.infer(ONES)["OUT"].tolist() == [3]
    wanted = "'decoupled=True' argument to the 'exec' or 'async_exec' calls for decoupled models.'"[-70:]
    assert told == [[4, 0], wanted, wanted]
