"""Requests with many responses, in the real core: generators, response senders, and what can go wrong with them."""

from __future__ import annotations

import gc
import threading
import time

import numpy as np
import pytest

from tests.runtime.conftest import drain, ints, numbers, wait_for
from triton_backend_sdk import CancelledError, InternalError, TritonError

DECOUPLED = "model_transaction_policy { decoupled: true }"
INT = {"IN": ("INT32", [1])}, {"OUT": ("INT32", [1])}
TWO = {"IN": ("INT32", [1])}, {"OUT": ("INT32", [-1]), "TEXT": ("BYTES", [-1])}


@pytest.fixture
def stream(serve):
    """Serve a decoupled plugin; calling gives all responses to one request, of which exactly one said it was the last."""

    def make(source, specs=INT, **config):
        served = serve(source, *specs, extra=DECOUPLED + config.pop("more", ""), **config)

        def ask(value=3, **options):
            with served.core.stream(served.name, ints(value), timeout=20, **options) as responses:
                found = drain(responses)
            assert responses.finals == 1
            return found

        ask.served = served
        return ask

    return make


COUNT = """
    @hookimpl
    def execute(request):
        for i in range(int(request["IN"].numpy()[0])):
            yield Response({"OUT": np.int32([i])})
"""


# --- generators ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 5, 3000])
def test_a_generator_gives_a_response_for_each_item(stream, count):
    assert numbers(stream(COUNT)(count)) == list(range(count))


def test_generators_of_a_batch_take_turns(serve):
    served = serve(
        COUNT.replace('["IN"].numpy()[0]', '["IN"].numpy()[0][0]').replace("[i]", "[[i]]"),
        *INT,
        batch=4,
        extra=DECOUPLED
        + " dynamic_batching { max_queue_delay_microseconds: 200000 preferred_batch_size: [4] }",
    )
    order, lock = [], threading.Lock()

    def read(name):
        for _ in served.core.stream(served.name, {"IN": np.int32([[3]])}, timeout=20):
            with lock:
                order.append(name)

    threads = [threading.Thread(target=read, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert sorted(order) == sorted([0, 1, 2, 3] * 3)
    assert served.core.wait_released(5)
    assert served.core.statistics(served.name)["batch_stats"][-1]["batch_size"] == 4


def test_a_generator_is_as_good_in_a_list(stream):
    ask = stream("""
        @hookimpl
        def execute(requests):
            return [(Response({"OUT": np.int32([i])}) for i in range(4)) for _ in requests]
    """)
    assert numbers(ask()) == [0, 1, 2, 3]


def test_a_decoupled_model_may_answer_plainly(stream):
    ask = stream("""
        @hookimpl
        def execute(requests):
            return [Response({"OUT": request["IN"].numpy()}) for request in requests]
    """)
    assert numbers(ask(7)) == [7]


def test_responses_may_lack_outputs_and_have_parameters(stream):
    ask = stream(
        """
        @hookimpl
        def execute(request):
            yield Response()
            yield Response({"TEXT": ["a", b"b"]}, parameters={"b": True, "i": -2**40, "f": 0.5, "s": "ä"})
            yield Response({"OUT": np.int32([1, 2])}, parameters={})
        """,
        TWO,
    )
    first, second, third = ask()
    assert dict(first) == {}
    assert second.parameters == {"b": True, "i": -(2**40), "f": 0.5, "s": "ä"}
    assert second["TEXT"].tolist() == [b"a", b"b"]
    assert third["OUT"].tolist() == [1, 2]
    assert set(third) == {"OUT"}


def test_plain_responses_have_parameters_too(serve):
    served = serve(
        'execute = hookimpl(lambda requests: [Response({"OUT": r["IN"].numpy()}, parameters={"x": 1.25}) for r in requests])',
        *INT,
    )
    assert served.infer(ints(1)).parameters == {"x": 1.25}


@pytest.mark.parametrize(
    ("parameters", "why"),
    [
        ("{'x': None}", "give a bool, int, float or str"),
        ("{1: 2}", "no name"),
        ("{'x': 2**70}", "OverflowError"),
        ("[1]", "a mapping from name to value as parameters, not list"),
    ],
)
def test_wrong_parameters_are_the_plugins_fault(serve, parameters, why):
    served = serve(
        f'execute = hookimpl(lambda requests: [Response({{"OUT": r["IN"].numpy()}}, parameters={parameters}) for r in requests])',
        *INT,
    )
    with pytest.raises(InternalError, match=why):
        served.infer(ints(1))


def test_a_generator_that_raises_half_way(stream):
    ask = stream("""
        @hookimpl
        def execute(request):
            yield Response({"OUT": np.int32([0])})
            yield Response({"OUT": np.int32([1])})
            raise FileNotFoundError("the rest")
    """)
    *good, error = ask()
    assert numbers(good) == [0, 1]
    assert error.code == 2
    assert "the rest" in str(error)
    assert ask.served.log.count("Traceback") == 1


@pytest.mark.parametrize(
    ("item", "why"),
    [
        ("None", "the plugin gave NoneType as a response"),
        ("42", "the plugin gave int as a response"),
        ('Response({"NO": np.int32([1])})', "no output 'NO'"),
        ('Response({"OUT": np.int32([1, 2])})', "has shape [2]"),
        ('Response({"OUT": np.float32([1])})', "is FP32"),
        ("first", "already answered"),
        ("Response(reschedule=True)", "iterative_sequence: true"),
    ],
)
def test_a_wrong_item_ends_the_stream_and_the_generator(stream, item, why):
    ask = stream(f"""
        closed = []
        @hookimpl
        def execute(request):
            try:
                first = Response({{"OUT": np.int32([0])}})
                yield first
                yield {item}
                yield Response({{"OUT": np.int32([2])}})
            finally:
                closed.append(True)
    """)
    good, error = ask()
    assert good["OUT"] == 0
    assert why in str(error)
    assert ask.served.module.closed == [True]


def test_what_a_generator_returns_is_not_lost_in_silence(stream):
    ask = stream("""
        @hookimpl
        def execute(request):
            yield Response({"OUT": np.int32([0])})
            return Response(error=ValueError("the end"))
    """)
    good, error = ask()
    assert good["OUT"] == 0
    assert error.code == 1
    assert "returned Response at its end; yield it" in str(error)


def test_an_error_in_a_stream_is_a_response_like_others(stream):
    ask = stream("""
        @hookimpl
        def execute(request):
            yield Response({"OUT": np.int32([0])})
            yield Response(error=InvalidArgError("this one is bad"))
            yield ValueError("this too")
            yield Response({"OUT": np.int32([3])})
    """)
    zero, bad, too, three = ask()
    assert (zero["OUT"], three["OUT"]) == (0, 3)
    assert (bad.code, too.code) == (3, 3)


def test_a_view_from_request_output_is_sent_as_it_was_when_it_was_yielded(stream):
    ask = stream("""
        kept = []
        @hookimpl
        def execute(request):
            for i in range(4):
                out = request.output("OUT", [1]).numpy()
                out[:] = i
                kept.append(out)
                yield Response()
                out[:] = 99  # too late
    """)
    assert numbers(ask()) == [0, 1, 2, 3]
    assert [int(out[0]) for out in ask.served.module.kept] == [99] * 4


def test_a_generator_over_a_batch_is_refused_at_load(serve):
    with pytest.raises(TritonError, match="take `request` instead of `requests`"):
        serve("@hookimpl\ndef execute(requests):\n    yield 1", *INT, extra=DECOUPLED)


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_stream_in_a_model_that_is_not_decoupled_is_refused_at_load(serve, kind):
    with pytest.raises(TritonError, match="not decoupled"):
        serve(f"@hookimpl\n{kind} execute(request):\n    yield 1", *INT)


def test_a_generator_in_a_list_of_a_model_that_is_not_decoupled_fails_its_request(serve):
    served = serve("@hookimpl\ndef execute(requests):\n    return [iter([1]) for _ in requests]", *INT)
    with pytest.raises(InternalError, match="not decoupled"):
        served.infer(ints(1))


def test_one_request_at_a_time_fails_alone(serve):
    served = serve(
        """
        @hookimpl
        def execute(instance, request):
            assert instance is request.instance
            if request["IN"].numpy()[0, 0] == 2:
                raise ValueError("two")
            return Response({"OUT": request["IN"].numpy()})
        """,
        *INT,
        batch=4,
        extra="dynamic_batching { max_queue_delay_microseconds: 100000 preferred_batch_size: [4] }",
    )
    futures = [served.send({"IN": np.int32([[i]])}) for i in range(4)]
    assert [future.exception(20) is None for future in futures] == [True, True, False, True]


# --- senders ------------------------------------------------------------------------------------------------------------

SENDER = """
    import threading, time, gc
    senders = []
    @hookimpl
    def execute(requests):
        for request in requests:
            senders.append((int(request["IN"].numpy()[0]), request.response_sender()))
        return [None] * len(requests)
"""


def out(value):
    from triton_backend_sdk import Response

    return Response({"OUT": np.int32([value])})


def test_senders_answer_later_from_any_thread_out_of_order(stream, serve):
    served = serve(SENDER, *INT, extra=DECOUPLED)
    streams = [served.core.stream(served.name, ints(i), timeout=20) for i in range(3)]
    senders = served.module.senders
    wait_for(lambda: len(senders) == 3)

    def answer(index):
        number, sender = senders[index]
        for i in range(50):
            sender.send(out(number * 100 + i))
        sender.close()

    threads = [threading.Thread(target=answer, args=(index,)) for index in (2, 0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    for number, responses in enumerate(streams):
        assert numbers(drain(responses)) == [number * 100 + i for i in range(50)]
        assert responses.finals == 1
    assert all(sender.closed for _, sender in senders)
    senders.clear()


def test_many_threads_may_use_one_sender(serve):
    served = serve(SENDER, *INT, extra=DECOUPLED)
    responses = served.core.stream(served.name, ints(0), timeout=20)
    wait_for(lambda: served.module.senders)
    _, sender = served.module.senders.pop()

    def answer(thread):
        for i in range(200):
            sender.send(out(thread * 1000 + i))

    threads = [threading.Thread(target=answer, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    sender.send(out(-1), final=True)

    *found, last = numbers(drain(responses))
    assert last == -1
    assert sorted(found) == sorted(thread * 1000 + i for thread in range(4) for i in range(200))
    assert responses.finals == 1


def test_a_model_that_is_not_decoupled_is_answered_once(serve):
    served = serve(SENDER, *INT)
    future = served.send(ints(5))
    wait_for(lambda: served.module.senders)
    _, sender = served.module.senders.pop()
    sender.send(out(6))

    assert future.result(10)["OUT"] == 6
    assert sender.closed
    with pytest.raises(InternalError, match="nothing can be sent after"):
        sender.send(out(7))
    sender.close()


def test_nothing_is_sent_after_final(serve):
    served = serve(SENDER, *INT, extra=DECOUPLED)
    responses = served.core.stream(served.name, ints(0), timeout=20)
    wait_for(lambda: served.module.senders)
    _, sender = served.module.senders.pop()
    sender.send(out(1), final=True)
    for again in (lambda: sender.send(out(2)), lambda: sender.send(out(2), final=True)):
        with pytest.raises(InternalError, match="nothing can be sent after"):
            again()
    sender.close()
    sender._fail(1, "too late")

    assert numbers(drain(responses)) == [1]
    assert responses.finals == 1


def test_a_wrong_response_raises_where_it_is_sent_and_nothing_leaves(serve):
    served = serve(SENDER, *INT, extra=DECOUPLED)
    responses = served.core.stream(served.name, ints(0), timeout=20)
    wait_for(lambda: served.module.senders)
    _, sender = served.module.senders.pop()
    from triton_backend_sdk import Response

    with pytest.raises(InternalError, match="has shape"):
        sender.send(Response({"OUT": np.int32([1, 2])}))
    with pytest.raises(InternalError, match="give a Response"):
        sender.send(None)
    sender.send(out(3))
    sender.close()

    assert numbers(drain(responses)) == [3]


@pytest.mark.parametrize("extra", ["", DECOUPLED])
def test_a_dropped_sender_is_an_error(serve, extra):
    served = serve(SENDER, *INT, extra=extra)
    responses = served.core.stream(served.name, ints(0), timeout=20)
    wait_for(lambda: served.module.senders)
    served.module.senders.clear()

    [error] = drain(responses)
    assert "dropped the request's ResponseSender" in str(error)
    assert responses.finals == 1


def test_a_sender_that_is_dropped_after_a_response_ends_the_stream(serve):
    served = serve(SENDER, *INT, extra=DECOUPLED)
    responses = served.core.stream(served.name, ints(0), timeout=20)
    wait_for(lambda: served.module.senders)
    served.module.senders[0][1].send(out(1))
    served.module.senders.clear()

    assert numbers(drain(responses)) == [1]
    assert responses.finals == 1


def test_a_closed_sender_without_a_response_is_an_empty_stream(serve):
    served = serve(SENDER, *INT, extra=DECOUPLED)
    responses = served.core.stream(served.name, ints(0), timeout=20)
    wait_for(lambda: served.module.senders)
    served.module.senders.pop()[1].close()

    assert drain(responses) == []
    assert responses.empty_final


def test_a_closed_sender_without_the_one_response_is_an_error(serve):
    served = serve(SENDER, *INT)
    future = served.send(ints(5))
    wait_for(lambda: served.module.senders)
    served.module.senders.pop()[1].close()
    with pytest.raises(InternalError, match="closed without a response"):
        future.result(10)


def test_a_sender_leaked_in_a_reference_cycle_is_found(stream):
    ask = stream("""
        class Node: ...
        @hookimpl
        def execute(requests):
            for request in requests:
                node = Node()
                node.self, node.sender, node.request = node, request.response_sender(), request
            return [None] * len(requests)
    """)
    gc.disable()
    try:
        [error] = ask()
    finally:
        gc.enable()
    assert "dropped the request's ResponseSender" in str(error)


def test_a_with_block_ends_the_request_or_sends_what_was_raised(stream):
    ask = stream("""
        @hookimpl
        def execute(requests):
            for request in requests:
                try:
                    with request.response_sender() as sender:
                        sender.send(Response({"OUT": np.int32([1])}))
                        if request["IN"].numpy()[0]:
                            raise UnavailableError("gone")
                except UnavailableError:
                    pass
            return [None] * len(requests)
    """)
    assert numbers(ask(0)) == [1]
    one, error = ask(1)
    assert one["OUT"] == 1
    assert error.code == 4


@pytest.mark.parametrize(
    ("result", "why"),
    [
        ("[Response({'OUT': np.int32([1])})]", "whose ResponseSender it took"),
        ("[]", "0 responses for 1 requests"),
        ("1 / 0", "division by zero"),
    ],
)
def test_an_execute_that_contradicts_its_sender_gets_an_error_once(stream, result, why):
    ask = stream(f"""
        senders = []
        @hookimpl
        def execute(requests):
            senders.append(requests[0].response_sender())
            return {result}
    """)
    [error] = ask()
    assert why in str(error)
    with pytest.raises(InternalError, match="nothing can be sent after"):
        ask.served.module.senders.pop().send(out(1))


def test_there_is_one_sender_per_request(stream):
    ask = stream("""
        @hookimpl
        def execute(requests):
            sender = requests[0].response_sender()
            try:
                requests[0].response_sender()
            except InternalError as error:
                sender.send(error)
            return [None]
    """)
    [error] = ask()
    assert "already taken" in str(error)


def test_none_without_a_sender_is_an_error(serve):
    served = serve("execute = hookimpl(lambda requests: [None] * len(requests))", *INT)
    with pytest.raises(InternalError, match="execute returned NoneType"):
        served.infer(ints(1))


# --- early release, cancellation, deadlines -----------------------------------------------------------------------------


def test_a_request_is_given_back_before_it_is_answered(serve):
    served = serve(
        """
        import threading
        go, problems = threading.Event(), []
        @hookimpl
        def execute(request):
            count = int(request["IN"].numpy()[0])
            request.release()
            request.release()
            for attempt in (lambda: request["IN"], lambda: request.id, lambda: request.is_cancelled(), lambda: list(request)):
                try:
                    attempt()
                except InternalError as error:
                    problems.append(str(error))
            yield Response({"OUT": np.int32([0])})
            go.wait(10)
            for i in range(1, count):
                yield Response({"OUT": np.int32([i])})
        """,
        *INT,
        extra=DECOUPLED,
    )
    responses = served.core.stream(served.name, ints(3), timeout=20)
    assert next(responses)["OUT"] == 0
    wait_for(lambda: served.core.live_objects()["requests"] == 0)
    served.module.go.set()
    assert numbers(drain(responses)) == [1, 2]
    assert len(served.module.problems) == 4
    assert all("given back" in problem for problem in served.module.problems)


def test_a_view_keeps_an_early_released_request(serve):
    served = serve(
        """
        kept = []
        @hookimpl
        def execute(requests):
            kept.append(requests[0]["IN"].numpy())
            requests[0].release()
            return [Response({"OUT": kept[0]})]
        """,
        *INT,
    )
    assert served.infer(ints(4))["OUT"] == 4
    time.sleep(0.05)
    assert served.core.live_objects()["requests"] == 1
    assert served.module.kept.pop() == 4


def test_a_cancelled_stream_closes_its_generator(serve):
    served = serve(
        """
        import time
        seen = []
        @hookimpl
        def execute(request):
            try:
                for i in range(100000):
                    seen.append(request.is_cancelled())
                    yield Response({"OUT": np.int32([i])})
                    time.sleep(0.001)
            finally:
                seen.append("closed")
        """,
        *INT,
        extra=DECOUPLED,
    )
    responses = served.core.stream(served.name, ints(3), timeout=20)
    next(responses)
    responses.cancel()
    *_, last = drain(responses)
    assert isinstance(last, CancelledError)
    assert responses.finals == 1
    assert served.module.seen[-1] == "closed"
    assert served.module.seen[0] is False


def test_a_client_that_goes_away_a_thousand_times_leaves_nothing(serve):
    served = serve(
        """
        @hookimpl
        def execute(request):
            i = 0
            while True:
                yield Response({"OUT": np.int32([i])})
                i += 1
        """,
        *INT,
        extra=DECOUPLED,
    )
    for _ in range(1000):
        with served.core.stream(served.name, ints(3), timeout=20) as responses:
            next(responses)
    assert served.core.wait_released(10), served.core.live_objects()


def test_a_plain_execute_sees_its_client_cancel(serve):
    served = serve(
        """
        import time
        started = []
        @hookimpl
        def execute(requests):
            started.append(True)
            end = time.monotonic() + 10
            while not requests[0].is_cancelled():
                assert time.monotonic() < end
                time.sleep(0.001)
            raise CancelledError("as asked")
        """,
        *INT,
    )
    future = served.send(ints(1))
    wait_for(lambda: served.module.started)
    future.cancel_request()
    with pytest.raises(CancelledError, match="as asked"):
        future.result(10)


def test_a_timeout_becomes_a_deadline(serve):
    served = serve(
        """
        found = []
        @hookimpl
        def execute(requests):
            import time
            for request in requests:
                deadline = request.deadline
                found.append((request.timeout_us, deadline.remaining(), deadline.expired, repr(deadline)))
                if request.timeout_us:
                    time.sleep(0.06)
                    found.append((deadline.remaining(), deadline.expired))
            return [Response({"OUT": request["IN"].numpy()}) for request in requests]
        """,
        *INT,
    )
    served.infer(ints(1))
    served.infer(ints(1), timeout_us=50_000)
    (none, no_remaining, no_expired, _), (some, remaining, expired, _), (later, over) = served.module.found
    assert (none, no_remaining, no_expired) == (0, None, False)
    assert some == 50_000
    assert 0 < remaining <= 0.05
    assert (expired, later, over) == (False, 0.0, True)


# --- statistics ---------------------------------------------------------------------------------------------------------


def test_each_response_of_a_stream_has_its_own_duration(serve):
    served = serve(
        """
        import time
        @hookimpl
        def execute(request):
            for i in range(3):
                time.sleep(0.02)
                yield Response({"OUT": np.int32([i])})
        """,
        *INT,
        extra=DECOUPLED,
    )
    numbers(drain(served.core.stream(served.name, ints(3), timeout=20)))
    served.core.wait_released(5)
    statistics = served.core.statistics(served.name)
    assert statistics["execution_count"] == 1
    assert statistics["inference_stats"]["success"]["count"] == 1
    assert statistics["inference_stats"]["compute_infer"]["ns"] >= 60e6  # the whole stream, not its start
    for response in "012":
        assert statistics["response_stats"][response]["success"]["count"] == 1
        assert 18e6 < statistics["response_stats"][response]["compute_infer"]["ns"] < 200e6  # its own step
        assert statistics["response_stats"][response]["compute_output"]["ns"] < 18e6
    assert statistics["response_stats"]["3"]["empty_response"]["count"] == 1


def test_a_deferred_request_counts_until_its_answer(serve):
    served = serve(SENDER, *INT)
    future = served.send(ints(5))
    wait_for(lambda: served.module.senders)
    time.sleep(0.05)
    assert served.core.statistics(served.name)["execution_count"] == 0
    served.module.senders.pop()[1].send(out(6))
    future.result(10)
    served.core.wait_released(5)
    statistics = served.core.statistics(served.name)
    assert statistics["execution_count"] == 1
    assert statistics["inference_stats"]["compute_infer"]["ns"] >= 50e6


def test_a_failed_stream_counts_as_failed(stream):
    ask = stream("""
        @hookimpl
        def execute(request):
            yield Response({"OUT": np.int32([0])})
            raise ValueError("no")
    """)
    ask()
    ask.served.core.wait_released(5)
    statistics = ask.served.core.statistics(ask.served.name)
    assert statistics["inference_stats"]["fail"]["count"] == 1
    assert statistics["response_stats"]["1"]["fail"]["count"] == 1
