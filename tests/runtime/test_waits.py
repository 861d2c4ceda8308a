"""Calls that nobody would ever answer are refused; those that somebody will answer are not."""

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
    import numpy as np

    return {"IN": np.array(values, np.float32)}


def two(count):
    return f"instance_group {{ kind: KIND_CPU count: {count} }}"


@pytest.mark.parametrize("call", [INFER, AWAIT, START, STREAM])
def test_a_call_to_oneself_without_a_free_instance_is_refused(serve, call):
    model = serve(HOP.replace("CALL", call))
    with pytest.raises(UnavailableError, match="nobody would ever answer.*waits for .*more instances"):
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


def test_a_ring_through_a_busy_instance_of_two(serve, tmp_path):
    """The second model has an instance to spare, but it is not the one that the first waits for."""
    second = serve(HOP.replace("CALL", INFER), extra=two(2), parameters={"m1": "first"})
    first = serve(HOP.replace("CALL", INFER), beside=second, name="first", parameters={"m1": second.name})
    with pytest.raises(UnavailableError, match="nobody would ever answer"):
        first.infer(floats(1, 1, 0))
    assert first.infer(floats(1, 0))["OUT"].tolist() == [0]


def test_two_instances_that_call_their_own_model_at_once_do_not_hang(serve):
    import threading

    model = serve(HOP.replace("CALL", INFER), extra=two(2))
    model.module.barrier = threading.Barrier(2)
    futures = [model.send(floats(-9, 0)) for _ in range(2)]
    outcomes = []
    for future in futures:
        try:
            outcomes.append(future.result(10)["OUT"].tolist())
        except UnavailableError as error:
            outcomes.append(type(error))
    assert sorted(map(str, outcomes)) in (
        sorted(map(str, [[0], UnavailableError])),
        sorted(map(str, [[0], [0]])),
    )
