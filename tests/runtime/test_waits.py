"""Calls that nobody would ever answer are refused; those that somebody will answer are not."""

import threading

import numpy as np
import pytest

from triton_backend_sdk.errors import UnavailableError

#: Calls what IN's first element says: 0 nobody, else the model of that parameter, with the rest of IN.
HOP = """
import threading
inside = threading.Semaphore(0)
barrier = None
@hookimpl
def execute(instance, requests):
    server, parameters = instance.model.server, instance.model.parameters
    responses = []
    for request in requests:
        where, *rest = request["IN"].tolist()
        if where < 0:
            barrier.wait(10)
            where = -where
        if not where:
            responses.append(Response({"OUT": request["IN"]}))
            continue
        name = instance.model.name if where == 9 else parameters[f"m{int(where)}"]
        responses.append(Response({"OUT": CALL["OUT"]}))
    return responses
"""
INFER = 'server.infer(name, {"IN": np.array(rest, np.float32)})'
AWAIT = '__import__("asyncio").run(server.infer_async(name, {"IN": np.array(rest, np.float32)}))'
START = 'server.start(name, {"IN": np.array(rest, np.float32)}).result()'
STREAM = 'next(server.stream(name, {"IN": np.array(rest, np.float32)}))'


def floats(*values):
    return {"IN": np.array(values, np.float32)}


def two(count):
    return f"instance_group {{ kind: KIND_CPU count: {count} }}"


@pytest.mark.parametrize("call", [INFER, AWAIT, START, STREAM])
def test_a_call_to_oneself_without_a_free_instance_is_refused(serve, call):
    model = serve(HOP.replace("CALL", call))
    with pytest.raises(UnavailableError, match=r"nobody would ever answer.*waits for .*more instances"):
        model.infer(floats(9, 0))
    assert model.infer(floats(0))["OUT"].tolist() == [0]


def test_with_a_free_instance_it_is_answered_and_one_deeper_refused(serve):
    model = serve(HOP.replace("CALL", INFER), extra=two(2))
    assert model.infer(floats(9, 0))["OUT"].tolist() == [0]
    with pytest.raises(UnavailableError, match="nobody would ever answer"):
        model.infer(floats(9, 9, 0))


def test_a_ring_of_models_is_refused(serve):
    second = serve(HOP.replace("CALL", INFER))
    first = serve(HOP.replace("CALL", INFER), beside=second, parameters={"m1": second.name})
    third = serve(HOP.replace("CALL", INFER), beside=second, parameters={"m1": first.name})
    assert third.infer(floats(1, 1, 0))["OUT"].tolist() == [0]
    with pytest.raises(UnavailableError, match=f"waits for '{second.name}'"):
        first.infer(floats(1, 9, 0))  # the second calls itself


def test_a_ring_through_a_busy_instance_of_two(serve):
    """The second model has an instance to spare, but it is not the one that the first waits for."""
    second = serve(HOP.replace("CALL", INFER), extra=two(2), parameters={"m1": "first"})
    first = serve(HOP.replace("CALL", INFER), beside=second, name="first", parameters={"m1": second.name})
    with pytest.raises(UnavailableError, match="nobody would ever answer"):
        first.infer(floats(1, 1, 0))
    assert first.infer(floats(1, 0))["OUT"].tolist() == [0]


def test_two_instances_that_call_their_own_model_at_once_do_not_hang(serve):
    model = serve(HOP.replace("CALL", INFER), extra=two(2))
    model.module.barrier = threading.Barrier(2)
    futures = [model.send(floats(-9, 0)) for _ in range(2)]
    answered = refused = 0
    for future in futures:
        try:
            assert future.result(10)["OUT"].tolist() == [0]
            answered += 1
        except UnavailableError:
            refused += 1
    assert answered >= 1, "both were refused"
    assert answered + refused == 2


def test_an_instance_with_a_thread_of_its_own_is_known_too(serve):
    model = serve(HOP.replace("CALL", INFER), parameters={"instance_thread": "own"})
    with pytest.raises(UnavailableError, match="nobody would ever answer"):
        model.infer(floats(9, 0))


def test_what_is_beyond_detection_is_bounded_by_the_timeout(serve):
    """A thread that execute started and waits for is no execute."""
    model = serve(
        """
        import threading
        given_up = []
        @hookimpl
        def execute(instance, requests):
            if given_up:  # the call of then
                return [Response({"OUT": r["IN"]}) for r in requests]
            def call():
                try:
                    instance.model.server.infer(instance.model.name, requests[0], timeout=0.2)
                except TimeoutError:
                    given_up.append(True)
            thread = threading.Thread(target=call)
            thread.start()
            thread.join()
            return [Response({"OUT": np.array([len(given_up)], np.float32)}) for _ in requests]
        """
    )
    assert model.infer(floats(0))["OUT"].tolist() == [1]
