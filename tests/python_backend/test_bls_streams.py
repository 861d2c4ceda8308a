"""exec(decoupled=True) and its ResponseIterator."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from tests.python_backend.bls_models import DOUBLES, REPEATS, acting, seen, told

ONES = {"IN": np.ones(2, np.float32)}


@pytest.fixture
def stream(serve_model):
    """Serve a model whose ``act`` calls a decoupled one; gives what was told."""
    told.clear()
    seen.clear()

    def make(act, callee=REPEATS, decoupled=True):
        called = serve_model(callee, name="called", decoupled=decoupled)
        caller = serve_model(acting(act), beside=called, parameters={"target": "called"})
        caller.infer(ONES)
        assert caller.core.wait_released(10), caller.core.live_objects()
        return list(told)

    return make


def test_responses_come_one_by_one_and_an_empty_one_for_a_flag_of_its_own(stream):
    assert stream(
        """
        def act(self, request, target):
            for ending in 0, 1:
                responses = list(asked(target, [3, ending]).exec(decoupled=True))
                told.append([[out(r)[0] for r in responses if r.output_tensors()], len(responses),
                             [r.has_error() for r in responses]])
            told.append(len(list(asked(target, [0, 0]).exec(decoupled=True))))
            return [0]
        """
    ) == [[[0, 1, 2], 4, [False] * 4], [[0, 1, 2], 3, [False] * 3], 1]


def test_a_model_that_is_not_decoupled_gives_one(stream):
    assert stream(
        """
        def act(self, request, target):
            iterator = asked(target, [3]).exec(decoupled=True)
            told.extend([type(iterator).__name__, [out(r)[0] for r in iterator], next(iterator, "over")])
            return [0]
        """,
        DOUBLES,
        False,
    ) == ["ResponseIterator", [6], "over"]


def test_an_iterator_can_be_iterated_again_when_it_has_ended(stream):
    assert stream(
        """
        def act(self, request, target):
            iterator = asked(target, [3, 1]).exec(decoupled=True)
            told.append(out(next(iterator))[0])
            told.append([out(r)[0] for r in iterator])
            told.append(next(iterator, "over"))
            told.append([out(r)[0] for r in iterator])
            again = iter(iterator)
            told.append(out(next(again))[0])
            told.append([out(r)[0] for r in iterator])
            iterator.cancel()
            return [0]
        """
    ) == [0, [1, 2], "over", [0, 1, 2], 0, [1, 2]]


def test_a_stream_is_cancelled_and_still_tells_how_it_ends(stream):
    assert stream(
        """
        def act(self, request, target):
            iterator = asked(target, [1, 2]).exec(decoupled=True)
            told.append(out(next(iterator))[0])
            iterator.cancel()
            iterator.cancel()
            told.append(error(next(iterator)))
            told.append([r.has_error() or len(r.output_tensors()) for r in iterator])
            return [0]
        """
    ) == [0, ["stopped", "CANCELLED"], [0]]
    assert seen == [True]


def test_an_iterator_that_is_dropped_half_way_is_cancelled(stream):
    stream(
        """
        def act(self, request, target):
            for response in asked(target, [1, 2]).exec(decoupled=True):
                break
            iterator = asked(target, [1, 2]).exec(decoupled=True)
            next(iterator)
            told.append(weakref.ref(iterator))
            return [0]
        """
    )
    until = time.monotonic() + 20
    while len(seen) < 2 and time.monotonic() < until:  # a cancelled call ends when its model likes
        time.sleep(0.01)
    assert seen == [True] * 2
    assert told[0]() is None


def test_inputs_may_be_written_to_once_exec_is_back(stream):
    assert stream(
        """
        def act(self, request, target):
            array = np.float32([3, 1])
            asking = [pb_utils.Tensor("IN", array)]
            iterator = asked(target, [], inputs=asking).exec(decoupled=True)
            array[:] = 0
            told.append(len(list(iterator)))
            return [0]
        """
    ) == [3]


def test_the_first_of_several_responses_is_awaited_and_the_rest_too_if_one_likes(stream):
    assert stream(
        """
        async def both(target):
            iterators = await asyncio.gather(*[asked(target, [i, 1]).async_exec(decoupled=True) for i in (1, 2)])
            told.append([[out(r)[0] for r in iterator] for iterator in iterators])
            iterator = await asked(target, [3, 0]).async_exec(decoupled=True)
            told.append([len(r.output_tensors()) async for r in iterator])
            told.append([len(r.output_tensors()) async for r in iterator])
            iterator = await asked(target, [1, 2]).async_exec(decoupled=True)
            iterator.cancel()
            told.append([r.has_error() for r in iterator])
        def act(self, request, target):
            asyncio.run(both(target))
            return [0]
        """
    ) == [[[0], [0, 1]], [1, 1, 1, 0], [1, 1, 1, 0], [False, True, False]]


def test_threads_share_an_iterator(stream):
    ((counts, alive),) = stream(
        """
        def act(self, request, target):
            iterator = asked(target, [500, 1]).exec(decoupled=True)
            taken = [[] for _ in range(4)]
            threads = [threading.Thread(target=lambda into=into: into.extend(out(r)[0] for r in iterator)) for into in taken]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(20)
            told.append((sorted(n for into in taken for n in into), [t.is_alive() for t in threads]))
            return [0]
        """
    )
    assert alive == [False] * 4
    # one that asks for an iterator when all are there begins again, as in the stock backend
    assert set(counts) == set(range(500))


def test_a_stream_is_cancelled_while_another_thread_waits(stream):
    assert stream(
        """
        def act(self, request, target):
            iterator = asked(target, [1, 2]).exec(decoupled=True)
            next(iterator)
            timer = threading.Timer(0.05, iterator.cancel)
            timer.start()
            told.append(error(next(iterator)))
            timer.join()
            return [0]
        """
    ) == [["stopped", "CANCELLED"]]


def test_an_iterator_over_a_response(stream):
    assert stream(
        """
        def act(self, request, target):
            response = asked(target, [1, 1]).exec()
            iterator = pb_utils.ResponseIterator(response)
            told.append([r is response for r in iterator] + [r is response for r in iterator])
            try:
                pb_utils.ResponseIterator(1)
            except TypeError as problem:
                told.append(str(problem).partition(".")[0])
            return [0]
        """,
    ) == [[True, True], "__init__(): incompatible constructor arguments"]


def test_a_long_stream_keeps_up_and_leaves_nothing(stream):
    before = threading.active_count()
    assert (
        stream(
            """
        def act(self, request, target):
            for _ in range(3):
                told.append(sum(1 for _ in asked(target, [2000, 1]).exec(decoupled=True)))
            return [0]
        """
        )
        == [2000] * 3
    )
    assert threading.active_count() <= before + 3
