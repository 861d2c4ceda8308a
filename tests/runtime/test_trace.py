"""What a plugin tells Triton's trace of a request, as the real core hands it to who traces."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from triton_backend_sdk import InternalError
from triton_backend_sdk.testing import CoreTrace

X = {"IN": np.zeros(1, np.float32)}
STAGES = """
@hookimpl
def execute(requests):
    responses = []
    for request in requests:
        with request.trace.span("tokenize"):
            x = request["IN"].numpy()
            with request.trace.span("inner"):
                request.trace.report("found it")
        responses.append(Response({"OUT": x}))
    return responses
"""


def test_spans_and_moments_arrive_in_order_between_tritons_own(serve):
    served = serve(STAGES)
    trace = CoreTrace()
    served.infer(X, trace=trace, request_id="r1")
    assert served.core.wait_released()
    own = ["tokenize_START", "inner_START", "found it", "inner_END", "tokenize_END"]
    assert [name for name in trace.names() if name in own] == own
    by_name = {event.name: event for event in trace.events}
    times = [by_name[name].ns for name in ("REQUEST_START", *own, "REQUEST_END")]
    assert times == sorted(set(times))
    assert by_name["COMPUTE_START"].ns <= by_name["tokenize_START"].ns
    assert by_name["tokenize_END"].ns <= by_name["COMPUTE_END"].ns
    assert {event.trace_id for event in trace.events} == {by_name["tokenize_START"].trace_id}
    assert by_name["tokenize_START"].request_id == "r1"


def test_only_the_traced_request_of_a_batch_reports(serve):
    served = serve(STAGES, batch=8, extra="dynamic_batching { max_queue_delay_microseconds: 100000 }")
    trace = CoreTrace()
    row = {"IN": np.zeros((1, 1), np.float32)}
    for future in [served.send(row), served.send(row, trace=trace), served.send(row)]:
        future.result(20)
    assert served.core.wait_released()
    assert trace.names().count("tokenize_START") == 1


def test_a_request_that_is_not_traced_costs_no_more_than_a_look(serve):
    served = serve(
        """
        seen = []

        @hookimpl
        def execute(requests):
            trace = requests[0].trace
            seen.append((bool(trace), trace.id, trace.parent_id, trace.context))
            with trace.span("x"):
                trace.report("y")
            assert trace is requests[0].trace and trace.span("a") is trace.span("b")
            return [Response({"OUT": requests[0]["IN"]})]
        """
    )
    served.infer(X)
    assert served.module.seen == [(False, 0, 0, None)]


LOOK = """
seen = []

@hookimpl
def execute(requests):
    request = requests[0]
    trace = request.trace
    trace.report("now")
    seen.append((bool(trace), trace.id, trace.parent_id, trace.context, repr(trace)))
    return [Response({"OUT": request["IN"]})]
"""


def test_ids_and_context(serve):
    served = serve(LOOK)
    trace = CoreTrace(parent_id=77, context={"traceparent": "00-ab-cd-01"})
    served.infer(X, trace=trace)
    number = trace.events[0].trace_id
    shown = f"<Trace {number} of <Request '' ['IN']>>"
    assert served.module.seen == [(True, number, 77, {"traceparent": "00-ab-cd-01"}, shown)]

    served.infer(X, trace=CoreTrace())
    assert served.module.seen[1][3] is None


def test_a_span_ends_where_its_block_raises(serve):
    served = serve(
        """
        @hookimpl
        def execute(requests):
            with requests[0].trace.span("s"):
                raise ValueError("in the span")
        """
    )
    trace = CoreTrace()
    with pytest.raises(ValueError, match="in the span"):
        served.infer(X, trace=trace)
    assert served.core.wait_released()
    assert [name for name in trace.names() if name.startswith("s_")] == ["s_START", "s_END"]


@pytest.mark.parametrize("traced", [True, False])
@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\nb", "", "x_START", "x_END"])
def test_a_name_that_would_spoil_the_trace_is_refused(serve, name, traced):
    served = serve(
        f"""
        @hookimpl
        def execute(requests):
            requests[0].trace.report({name!r})
        """
    )
    with pytest.raises(InternalError, match=r"is no name for a trace|would open or close a span"):
        served.infer(X, trace=CoreTrace() if traced else None)


def test_a_trace_that_is_kept_keeps_its_request(serve):
    served = serve(
        """
        kept = []

        @hookimpl
        def execute(requests):
            kept.append(requests[0].trace)
            return [Response({"OUT": requests[0]["IN"]})]
        """
    )
    trace = CoreTrace()
    served.infer(X, trace=trace)
    assert served.core.live_objects()["requests"] == 1
    (kept,) = served.module.kept
    kept.report("later")
    assert "REQUEST_END" not in trace.names()
    served.module.kept.clear()
    del kept
    assert served.core.wait_released()
    assert trace.names()[-2:] == ["later", "REQUEST_END"] or "later" in trace.names()


def test_moments_of_many_threads_all_have_times_of_their_own(serve):
    served = serve(
        """
        import threading

        def report(request, name):
            for _ in range(50):
                request.trace.report(name)

        @hookimpl
        def execute(requests):
            threads = [threading.Thread(target=report, args=(r, f"m{i}")) for i, r in enumerate(requests)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return [Response({"OUT": r["IN"]}) for r in requests]
        """,
        batch=8,
        extra="dynamic_batching { max_queue_delay_microseconds: 100000 }",
    )
    traces = [CoreTrace() for _ in range(4)]
    row = {"IN": np.zeros((1, 1), np.float32)}
    for future in [served.send(row, trace=trace) for trace in traces]:
        future.result(20)
    assert served.core.wait_released()
    mine = [event for trace in traces for event in trace.events if event.name.startswith("m")]
    assert len(mine) == len({event.ns for event in mine}) == 200
    running = [
        t for t in threading.enumerate() if not isinstance(t, threading._DummyThread)
    ]  # of other tests
    assert len(running) < 50


def test_a_trace_after_the_request_was_given_back_says_so(serve):
    served = serve(
        """
        seen = []

        @hookimpl
        def execute(requests):
            (request,) = requests
            trace, x = request.trace, request["IN"].numpy().copy()
            sender = request.response_sender()
            request.release()
            for use in (lambda: trace.report("x"), lambda: trace.id, lambda: trace.context, lambda: request.trace):
                try:
                    use()
                except InternalError as error:
                    seen.append(str(error))
            sender.send(Response({"OUT": x}), final=True)
            return [None]
        """
    )
    trace = CoreTrace()
    served.infer(X, trace=trace)
    assert len(served.module.seen) == 4
    assert all("given back by its release()" in message for message in served.module.seen)
    assert "x" not in trace.names()


def test_spans_of_a_stream(serve):
    served = serve(
        """
        @hookimpl
        def execute(request):
            for number in range(3):
                with request.trace.span(f"token{number}"):
                    response = Response({"OUT": np.float32([number])})
                yield response
        """,
        extra="model_transaction_policy { decoupled: true }",
    )
    trace = CoreTrace()
    assert len(list(served.core.stream(served.name, X, timeout=20, trace=trace))) == 3
    assert served.core.wait_released()
    spans = [name for name in trace.names() if name.startswith("token")]
    assert spans == [f"token{number}_{end}" for number in range(3) for end in ("START", "END")]


def test_spans_of_coroutines_stay_with_their_requests(serve):
    served = serve(
        """
        import asyncio

        @hookimpl
        async def execute(request):
            with request.trace.span(request.id):
                await asyncio.sleep(0.05)
            return Response({"OUT": request["IN"]})
        """
    )
    traces = {f"r{number}": CoreTrace() for number in range(5)}
    for call in [served.send(X, trace=trace, request_id=name) for name, trace in traces.items()]:
        call.result(20)
    assert served.core.wait_released()
    for request_id, trace in traces.items():
        spans = [name for name in trace.names() if name.startswith("r")]
        assert spans == [f"{request_id}_START", f"{request_id}_END"]


@pytest.mark.parametrize("given", ["parent=request", "trace=request.trace"])
def test_a_call_is_a_child_of_the_span_s_trace(serve, given):
    served = serve(
        """
        @hookimpl
        def execute(instance, requests):
            (request,) = requests
            if request.id == "inner":
                with request.trace.span("inside"):
                    return [Response({"OUT": request["IN"]})]
            with request.trace.span("outside"):
                call = instance.model.server.infer(
                    instance.model.name, {"IN": request["IN"]}, request_id="inner", GIVEN
                )
            return [Response({"OUT": call["OUT"]})]
        """.replace("GIVEN", given),
        extra="instance_group { kind: KIND_CPU count: 2 }",
    )
    trace = CoreTrace()
    served.infer(X, trace=trace)
    assert served.core.wait_released()
    by_name = {event.name: event for event in trace.events if "side" in event.name}
    assert list(by_name) == ["outside_START", "inside_START", "inside_END", "outside_END"]
    assert by_name["inside_START"].parent_id == by_name["outside_START"].trace_id
