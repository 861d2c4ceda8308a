"""Streams, cancellation, sequences, traces and metrics through the host, against the backend in C."""

import time

import numpy as np
import pytest

from triton_backend_sdk.errors import (
    CancelledError,
    InternalError,
    InvalidArgError,
    NotFoundError,
    TritonError,
)
from triton_backend_sdk.testing import CoreTrace, TritonCore

X = np.float32([1, 2])


@pytest.fixture
def stream_core(core):
    core.load("stream")
    return core


def test_a_stream_gives_responses_as_they_come(stream_core):
    stream = stream_core.stream("stream", {"IN": X}, timeout=10, parameters={"responses": 3})

    assert [response.parameters["number"] for response in stream] == [0, 1, 2]
    assert list(stream) == []
    assert (stream.finals, stream.empty_final) == (1, False)


def test_a_stream_may_end_with_a_flag_alone(stream_core):
    got = stream_core.responses("stream", {"IN": X}, timeout=10, parameters={"responses": 2, "finals": 1})

    assert [response.final for response in got] == [False, False]
    assert (got.finals, got.empty_final) == (1, True)
    assert stream_core.responses("stream", {"IN": X}, parameters={"responses": 0, "finals": 1}) == []


def test_a_streams_error_is_one_of_its_responses(stream_core):
    parameters = {"responses": 3, "error_at": 1}
    stream = stream_core.stream("stream", {"IN": X}, timeout=10, parameters=parameters)
    assert next(stream).parameters == {"number": 0}
    with pytest.raises(InvalidArgError, match="asked for"):
        next(stream)
    assert next(stream).parameters == {"number": 2}

    got = stream_core.responses("stream", {"IN": X}, timeout=10, parameters=parameters)
    assert [isinstance(one, TritonError) for one in got] == [False, True, False]


def test_a_second_final_answer_is_seen_and_harmless(stream_core):
    got = stream_core.responses("stream", {"IN": X}, timeout=10, parameters={"responses": 0, "finals": 3})

    assert got.empty_final
    assert stream_core.wait_released()
    for _ in range(200):
        if stream_core.late_answers == 2:
            break
        time.sleep(0.01)
    assert stream_core.late_answers == 2


def test_a_stream_is_cancelled_though_the_backend_has_released_the_request(stream_core):
    hang = {"responses": 1, "hang": True}
    stream = stream_core.stream("stream", {"IN": X}, timeout=2, parameters=hang)
    with pytest.raises(TimeoutError, match=r"no response came within 2 s"):
        next(stream)
    assert stream_core.live_objects()["answers"] == 1

    stream.cancel()
    assert [type(one) for one in stream.collect()] == [CancelledError]
    stream.cancel()  # over: harmless

    with stream_core.stream("stream", {"IN": X}, timeout=10, parameters=hang) as left:
        pass
    assert left.finals == 1


def test_a_plain_call_can_be_cancelled_and_wants_one_response(stream_core):
    call = stream_core.infer_async("stream", {"IN": X}, parameters={"responses": 1, "hang": True})
    call.cancel_request()
    with pytest.raises(CancelledError):
        call.result(10)
    call.cancel_request()

    with pytest.raises(InternalError, match=r"got 2 responses; stream\(\)"):
        stream_core.infer("stream", {"IN": X}, timeout=10, parameters={"responses": 2})


def test_options_reach_the_backend(core):
    def parameters(**options):
        got = core.infer("echo", {"IN": X}, timeout=10, **options).parameters
        return {name: value for name, value in got.items() if name != "buffers"}

    assert parameters(correlation_id=7, sequence_start=True) == {"correlation": 7, "flags": 1}
    assert parameters(correlation_id="seven", sequence_end=True) == {"correlation": "seven", "flags": 2}
    assert parameters(sequence_start=True, sequence_end=True) == {"flags": 3}
    assert parameters(timeout_us=1500, priority=0) == {"timeout_us": 1500}
    with pytest.raises(TypeError):
        core.infer("echo", {"IN": X}, sequence="x", timeout=10, version="x")


def test_a_trace_records_activities_with_their_names(core):
    trace = CoreTrace(parent_id=99, context={"who": "me"})

    core.infer("echo", {"IN": X}, timeout=10, trace=trace, request_id="r1")
    assert core.wait_released()

    assert trace.names()[:2] == ["REQUEST_START", "QUEUE_START"]
    assert trace.names()[-1] == "REQUEST_END"
    [custom] = [event for event in trace.events if event.ns == 7]
    assert custom.name == 'echoing "it"'
    assert {(event.model, event.request_id, event.parent_id) for event in trace.events} == {
        ("echo", "r1", 99)
    }
    assert not trace.tensors


def test_a_trace_records_tensors_where_asked(core):
    trace = CoreTrace(tensors=True)

    core.infer("echo", {"IN": X}, timeout=10, trace=trace)

    assert [(t.activity, t.name) for t in trace.tensors][:1] == [("TENSOR_QUEUE_INPUT", "IN")]
    np.testing.assert_array_equal(trace.tensors[0].data.view(np.float32), X)


def test_child_traces_are_recorded_with_their_parent(core):
    core.load("pair")
    trace = CoreTrace()

    core.infer("pair", {"IN": X}, timeout=10, trace=trace)
    assert core.wait_released()

    root = trace.events[0].trace_id
    children = trace.children(root)
    assert len(children) == 2
    for child in children:
        assert trace.names(child)[0] == "REQUEST_START"
        assert {event.model for event in trace.events if event.trace_id == child} == {"echo"}


def test_a_refused_requests_trace_is_not_leaked(core):
    for model, inputs in (("nobody", {"IN": X}), ("echo", {"WRONG": X}), ("echo", {})):
        with pytest.raises((NotFoundError, InvalidArgError)):
            core.infer(model, inputs, trace=CoreTrace())
    core.unload("echo")
    with pytest.raises(TritonError):
        core.infer("echo", {"IN": X}, trace=CoreTrace())
    assert not any(core.live_objects().values())


def test_metrics_are_text_where_asked_for(echo):
    backends, models = echo
    with TritonCore(models, backends, metrics=True) as core:
        core.load("echo")
        assert 'nv_inference_request_success{model="echo",version="1"} 0' in core.metrics_text()


@pytest.mark.parametrize(
    ("options", "said"), [({}, "completes configs"), ({"auto_complete": False}, "takes configs as they are")]
)
def test_a_model_is_told_whether_to_complete_its_config(echo, options, said):
    backends, models = echo
    with TritonCore(models, backends, **options) as core:
        core.load("echo")
        assert said in core.log_text()


@pytest.mark.parametrize("dependents", [False, True])
def test_an_ensemble_takes_its_parts_along_where_asked(core, dependents):
    core.unload("echo")
    core.load("pair")
    assert core.is_ready("echo")

    core.unload("pair", dependents=dependents)

    assert not core.is_ready("pair")
    for _ in range(500):
        if core.is_ready("echo") != dependents:
            break
        time.sleep(0.01)
    assert core.is_ready("echo") != dependents
