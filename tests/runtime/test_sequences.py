"""Sequences as Triton schedules them: ids, flags, control inputs, strategies, and requests executed again."""

import time

import numpy as np
import pytest

from triton_backend_sdk.errors import CancelledError, InternalError, InvalidArgError

STRATEGIES = ["direct { }", "oldest { max_candidate_sequences: 4 }"]
TEXT = {"OUT": ("BYTES", [-1])}

SAY = """
    @hookimpl
    def execute(requests):
        return [Response({"OUT": say(request)}) for request in requests]

    def say(request):
        said = [repr(request.correlation_id), str(int(request.flags))]
        for name in sorted(request):
            if name != "IN":
                said.append(f"{name}={request[name].tolist()}")
        return said
"""


def control(name, kind, how):
    return f'control_input {{ name: "{name}" control {{ kind: CONTROL_SEQUENCE_{kind} {how} }} }}'


def sequences(*parts, strategy="direct { }"):
    return "sequence_batching { " + strategy + " " + " ".join(parts) + " }"


def x(value=1):
    return {"IN": np.float32([value])}


def said(response):
    return [text.decode() for text in response["OUT"].tolist()]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(
    ("corrid", "text"), [(7, "7"), (2**64 - 1, str(2**64 - 1)), ("seven ü", "'seven ü'")]
)
def test_an_id_and_flags_reach_the_plugin(serve, strategy, corrid, text):
    served = serve(SAY, outputs=TEXT, extra=sequences(strategy=strategy))

    assert said(served.infer(x(), correlation_id=corrid, sequence_start=True)) == [text, "1"]
    assert said(served.infer(x(), correlation_id=corrid)) == [text, "0"]
    assert said(served.infer(x(), correlation_id=corrid, sequence_end=True)) == [text, "2"]
    assert said(served.infer(x(), correlation_id=corrid, sequence_start=True, sequence_end=True)) == [
        text,
        "3",
    ]


def test_a_plain_model_sees_an_id_too(serve):
    served = serve(SAY, outputs=TEXT)

    assert said(served.infer(x())) == ["0", "0"]
    assert said(served.infer(x(), correlation_id="a", sequence_end=True)) == ["'a'", "2"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_control_inputs_are_ordinary_inputs(serve, strategy):
    served = serve(
        SAY,
        outputs=TEXT,
        extra=sequences(
            control("START", "START", "int32_false_true: [ 0, 1 ]"),
            control("END", "END", "fp32_false_true: [ 0, 1 ]"),
            control("READY", "READY", "bool_false_true: [ false, true ]"),
            control("CORRID", "CORRID", "data_type: TYPE_UINT64"),
            strategy=strategy,
        ),
    )

    def ask(**flags):
        return said(served.infer(x(), correlation_id=9, **flags))[2:]

    assert ask(sequence_start=True) == ["CORRID=[9]", "END=[0.0]", "READY=[True]", "START=[1]"]
    assert ask() == ["CORRID=[9]", "END=[0.0]", "READY=[True]", "START=[0]"]
    assert ask(sequence_end=True) == ["CORRID=[9]", "END=[1.0]", "READY=[True]", "START=[0]"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_string_id_comes_as_a_control_input(serve, strategy):
    served = serve(
        SAY,
        outputs=TEXT,
        extra=sequences(control("CORRID", "CORRID", "data_type: TYPE_STRING"), strategy=strategy),
    )

    got = said(served.infer(x(), correlation_id="übung", sequence_start=True, sequence_end=True))
    assert got == ["'übung'", "3", f"CORRID=[{'übung'.encode()!r}]"]
    with pytest.raises(InvalidArgError, match="correlation id as a string, but the request has an integer"):
        served.infer(x(), correlation_id=5, sequence_start=True, sequence_end=True)


def test_an_empty_slot_of_a_direct_batch_comes_as_a_request_that_is_not_ready(serve):
    """Slots are places in the batch: where a sequence has no request, Triton sends one whose answer goes nowhere."""
    served = serve(
        """
        seen = []

        @hookimpl
        def execute(requests):
            seen.append([bool(request["READY"].numpy().all()) for request in requests])
            return [Response({"OUT": request["IN"].numpy()}) for request in requests]
        """,
        batch=4,
        extra=sequences(control("READY", "READY", "bool_false_true: [ false, true ]")),
    )
    rows = {"IN": np.float32([[1]])}
    for corrid in (1, 2, 3):
        served.infer(rows, correlation_id=corrid, sequence_start=True)
    served.module.seen.clear()

    assert served.infer(rows, correlation_id=3)["OUT"].tolist() == [[1]]
    [ready] = served.module.seen
    assert ready == [False, False, True]


def test_requests_of_a_sequence_come_in_their_order_to_one_instance(serve):
    served = serve(
        """
        seen = []

        @hookimpl
        def execute(instance, requests):
            seen.extend((request.correlation_id, instance.name, request["IN"].numpy().flat[0]) for request in requests)
            return [Response({"OUT": request["IN"].numpy()}) for request in requests]
        """,
        batch=4,
        extra=sequences(strategy=STRATEGIES[1]) + "\ninstance_group { kind: KIND_CPU count: 3 }",
    )
    calls = [
        served.send(
            {"IN": np.float32([[step]])},
            correlation_id=corrid,
            sequence_start=step == 0,
            sequence_end=step == 9,
        )
        for step in range(10)
        for corrid in ("a", "b", "c", 4)
    ]
    for call in calls:
        call.result(20)
    for corrid in ("a", "b", "c", 4):
        mine = [(instance, step) for name, instance, step in served.module.seen if name == corrid]
        assert [step for _, step in mine] == list(range(10))
        assert len({instance for instance, _ in mine}) == 1


ITERATIVE = """
    seen = []

    @hookimpl
    def execute(requests):
        return [step(request) for request in requests]

    def step(request):
        seen.append(int(request.flags))
        old = request["COUNT_IN"].numpy()
        left = request["IN"].numpy() if request.flags & RequestFlag.SEQUENCE_START else old
        new = request.state("COUNT_OUT", old.shape).numpy()
        np.subtract(left, 1, out=new)
        if new[0] > 0:
            return Response(reschedule=True)
        return Response({"OUT": np.float32([len(seen)])})
"""
COUNT = 'state { input_name: "COUNT_IN" output_name: "COUNT_OUT" data_type: TYPE_FP32 dims: [ 1 ] }'


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("ids", [None, (5, 6, 7), ("x", "y", "z")])
def test_a_request_is_executed_until_it_is_done(serve, strategy, ids):
    served = serve(ITERATIVE, extra=sequences("iterative_sequence: true", COUNT, strategy=strategy))

    for at, count in enumerate((1, 5, 2)):
        served.module.seen.clear()
        # An id of its own for each: Triton frees the last one's slot a little after its answer.
        options = {"correlation_id": ids[at], "sequence_start": True} if ids else {}
        assert served.infer(x(count), **options)["OUT"].tolist() == [count]
        assert served.module.seen == [1, *[0] * (count - 1)], "only its first execution starts the sequence"
    assert served.core.wait_released()
    assert served.core.statistics(served.name)["inference_count"] == 8


def test_many_iterative_requests_share_their_batches(serve):
    served = serve(
        """
        sizes = []

        @hookimpl
        def execute(requests):
            sizes.append(len(requests))
            return [step(request) for request in requests]

        def step(request):
            left = request["IN"].numpy() if request.flags & RequestFlag.SEQUENCE_START else request["COUNT_IN"].numpy()
            if left.flat[0] > 1:
                return Response(states={"COUNT_OUT": left - 1}, reschedule=True)
            return Response({"OUT": request["IN"].numpy()})
        """,
        batch=8,
        extra=sequences("iterative_sequence: true", COUNT, strategy="oldest { max_candidate_sequences: 8 }"),
    )
    calls = [served.send({"IN": np.float32([[n]])}) for n in range(1, 21)]
    assert [call.result(20)["OUT"].tolist() for call in calls] == [[[n]] for n in range(1, 21)]
    assert sum(served.module.sizes) == sum(range(1, 21))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_decoupled_request_streams_from_one_execution_to_the_next(serve, strategy):
    served = serve(
        """
        @hookimpl
        def execute(requests):
            return [stream(request) for request in requests]

        def stream(request):
            left = request["IN"].numpy() if request.flags & RequestFlag.SEQUENCE_START else request["COUNT_IN"].numpy()
            more = bool(left[0] > 1)
            yield Response({"OUT": left}, states={"COUNT_OUT": left - 1}, reschedule=more)
        """,
        extra=sequences("iterative_sequence: true", COUNT, strategy=strategy)
        + "\nmodel_transaction_policy { decoupled: true }",
    )
    got = served.responses(x(4))
    assert [response["OUT"].tolist() for response in got] == [[4], [3], [2], [1]]
    assert got.finals == 1


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_iterative_request_that_also_ends_its_sequence_is_refused_and_does_not_hang(serve, strategy):
    """Triton would release it for good: its client would wait for ever."""
    served = serve(ITERATIVE, extra=sequences("iterative_sequence: true", COUNT, strategy=strategy))

    both = {"correlation_id": 5, "sequence_start": True, "sequence_end": True}
    assert served.infer(x(1), **both)["OUT"].tolist() == [1]
    with pytest.raises(InternalError, match="carries SEQUENCE_END"):
        served.infer(x(3), **both)
    assert served.infer(x(2), correlation_id=6, sequence_start=True)["OUT"].tolist() == [4]


def test_only_an_iterative_model_reschedules(serve):
    for extra in ("", sequences()):
        served = serve(
            "@hookimpl\ndef execute(requests):\n    return [Response(reschedule=True)]", extra=extra
        )
        with pytest.raises(InternalError, match="iterative_sequence: true"):
            served.infer(x(), correlation_id=1, sequence_start=True)


def test_cancelling_an_iterative_request_ends_it(serve):
    served = serve(
        """
        import time

        @hookimpl
        def execute(requests):
            time.sleep(0.005)
            return [Response(reschedule=True) for request in requests]
        """,
        extra=sequences("iterative_sequence: true", strategy=STRATEGIES[1]),
    )
    call = served.send(x())
    time.sleep(0.1)
    assert not call.done()
    call.cancel_request()
    with pytest.raises(CancelledError):
        call.result(20)
    assert served.core.wait_released()


def test_a_sequence_that_fails_goes_on(serve):
    served = serve(
        """
        @hookimpl
        def execute(requests):
            if requests[0]["IN"].numpy()[0] < 0:
                raise ValueError("negative")
            return [Response({"OUT": requests[0]["IN"].numpy()})]
        """,
        extra=sequences(),
    )
    served.infer(x(1), correlation_id=1, sequence_start=True)
    with pytest.raises(ValueError, match="negative"):
        served.infer(x(-1), correlation_id=1)
    assert served.infer(x(2), correlation_id=1, sequence_end=True)["OUT"].tolist() == [2]
