"""async_exec: what awaits a call, and in which loops and threads."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from tests.python_backend.bls_models import DOUBLES, acting, seen, told
from tests.runtime.conftest import wait_for

ONES = {"IN": np.ones(2, np.float32)}
#: Answers when the test lets it.
WAITS = """
from tests.python_backend.bls_models import gate, seen
class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            seen.append(request.is_cancelled())
            gate.wait(20)
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", request.inputs()[0].as_numpy())]))
        return responses
"""


@pytest.fixture
def later(serve_model):
    """Serve a model whose ``act`` calls another; gives what was told."""
    told.clear()
    seen.clear()

    def make(act, callee=DOUBLES, **config):
        called = serve_model(callee, name="called", **config)
        caller = serve_model(acting(act), name="caller", beside=called, parameters={"target": "called"})
        caller.infer(ONES)
        gc.collect()  # from Python 3.13 on asyncio.run() leaves a ring of frames, with those of execute in it
        assert caller.core.wait_released(10), caller.core.live_objects()
        return list(told)

    return make


def test_calls_are_awaited_in_any_way(later):
    assert later(
        """
        async def all_ways(target):
            told.append(out(await asked(target, [1]).async_exec())[0])
            told.append([out(r)[0] for r in await asyncio.gather(*[asked(target, [i]).async_exec() for i in range(5)])])
            done, rest = await asyncio.wait([asked(target, [4]).async_exec()], timeout=20)
            told.append([out(one.result())[0] for one in done])
            told.append(out(await asyncio.wait_for(asked(target, [5]).async_exec(), 20))[0])
            future = asked(target, [6]).async_exec()
            future.add_done_callback(lambda one: told.append(out(one.result())[0]))
            await future
            await asyncio.sleep(0)
            told.append(isinstance(future, asyncio.Future))
        def act(self, request, target):
            asyncio.run(all_ways(target))
            return [0]
        """
    ) == [2, [0, 2, 4, 6, 8], [8], 10, 12, True]


def test_a_call_outside_of_a_loop_raises(later):
    assert later(
        """
        def act(self, request, target):
            try:
                asked(target, [1]).async_exec()
            except RuntimeError as problem:
                told.append(str(problem))
            return [0]
        """
    ) == ["no running event loop"]


def test_a_call_begins_before_it_is_awaited(later):
    assert later(
        """
        from tests.python_backend.bls_models import gate
        async def begin(target):
            gate.clear()
            future = asked(target, [1]).async_exec()
            until = time.monotonic() + 20
            while not seen and time.monotonic() < until:
                time.sleep(0.001)  # the loop stands still
            told.append(len(seen))
            gate.set()
            told.append(out(await future)[0])
        def act(self, request, target):
            asyncio.run(begin(target))
            return [0]
        """,
        WAITS,
    ) == [1, 1]


def test_exec_blocks_a_loop_as_in_the_stock_backend(later):
    assert later(
        """
        async def block(target):
            future = asked(target, [1]).async_exec()
            told.append(out(asked(target, [2]).exec())[0])
            told.append([out(r)[0] for r in asked(target, [3]).exec(decoupled=True)])
            told.append(out(await future)[0])
        def act(self, request, target):
            asyncio.run(block(target))
            return [0]
        """
    ) == [4, [6], 2]


def test_a_task_that_is_cancelled_leaves_its_call_as_in_the_stock_backend(later):
    assert later(
        """
        from tests.python_backend.bls_models import gate
        async def give_up(target):
            gate.clear()
            first, second = [asked(target, [1]).async_exec() for _ in range(2)]
            while not seen:
                await asyncio.sleep(0.001)
            second.cancel()
            try:
                await second
            except asyncio.CancelledError:
                told.append("cancelled")
            try:
                await asyncio.wait_for(first, 0.05)
            except asyncio.TimeoutError:
                told.append("late")
            gate.set()
        def act(self, request, target):
            asyncio.run(give_up(target))
            return [0]
        """,
        WAITS,
    ) == ["cancelled", "late"]
    wait_for(lambda: len(seen) == 2)  # nobody waits for their ends
    assert seen == [False, False]


def test_a_call_that_nobody_awaits_goes_its_way(later):
    later(
        """
        async def forget(target):
            for i in range(10):
                asked(target, np.full(1000, i)).async_exec()
        def act(self, request, target):
            asyncio.run(forget(target))
            asked(target, [1]).exec(decoupled=True)
            return out(asked(target, [2]).exec())
        """
    )
    assert len(seen) == 12


def test_other_threads_and_their_loops_call_too(later):
    assert later(
        """
        async def ask(target, i):
            return out(await asked(target, [i]).async_exec())[0]
        def act(self, request, target):
            def in_loop(i):
                told.append(asyncio.run(ask(target, i)))
            def plain(i):
                told.append(out(asked(target, [i]).exec())[0])
            threads = [threading.Thread(target=kind, args=[i]) for i in range(8) for kind in (in_loop, plain)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(20)
            told.sort()
            return [0]
        """
    ) == sorted([2 * i for i in range(8)] * 2)


def test_a_thousand_calls_under_way_need_no_thousand_threads(later):
    counted, threads = later(
        """
        async def many(target):
            before = threading.active_count()
            calls = [asked(target, np.full(1000, i)).async_exec() for i in range(1000)]
            during = threading.active_count()
            answers = await asyncio.gather(*calls)
            told.extend([sum(out(r)[7] for r in answers), during - before])
        def act(self, request, target):
            asyncio.run(many(target))
            return [0]
        """
    )
    assert counted == 2 * sum(range(1000))
    assert threads <= 1


def test_an_async_execute_calls(serve_model):
    called = serve_model(DOUBLES, name="called")
    caller = serve_model(
        """
        import asyncio
        class TritonPythonModel:
            async def execute(self, requests):
                async def one(request):
                    made = pb_utils.InferenceRequest(model_name="called", requested_output_names=["OUT"],
                                                     inputs=request.inputs())
                    response = await made.async_exec()
                    return pb_utils.InferenceResponse(response.output_tensors())
                return await asyncio.gather(*[one(request) for request in requests])
        """,
        beside=called,
    )
    assert caller.infer(ONES)["OUT"].tolist() == [2, 2]


def test_a_decoupled_coroutine_calls(serve_model):
    called = serve_model(DOUBLES, name="called")
    caller = serve_model(
        """
        class TritonPythonModel:
            async def execute(self, requests):
                for request in requests:
                    sender = request.get_response_sender()
                    made = pb_utils.InferenceRequest(model_name="called", requested_output_names=["OUT"],
                                                     inputs=request.inputs())
                    for answer in [await made.async_exec(), made.exec(), *made.exec(decoupled=True)]:
                        sender.send(pb_utils.InferenceResponse(answer.output_tensors()))
                    sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
        """,
        beside=called,
        decoupled=True,
    )
    assert [response["OUT"].tolist() for response in caller.stream(ONES)] == [[2, 2]] * 3
