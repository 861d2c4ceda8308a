"""Streams, senders and coroutines in the hands of an author who does what nobody should, in the real core."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from tests.runtime.conftest import ints, numbers, wait_for
from triton_backend_sdk import InternalError, Response, TritonError

DECOUPLED = "model_transaction_policy { decoupled: true }"
INT = {"IN": ("INT32", [1])}, {"OUT": ("INT32", [1])}
BATCHING = "dynamic_batching { max_queue_delay_microseconds: 300000 preferred_batch_size: [%d] }"


def out(value):
    return Response({"OUT": np.int32([value])})


def on_thread(function, *arguments):
    """Run it elsewhere; gives what it returns or raises."""
    found = []

    def call():
        try:
            found.append(function(*arguments))
        except Exception as error:
            found.append(str(error))

    thread = threading.Thread(target=call)
    thread.start()
    return thread, found


class Hook:
    """A value of an output that runs code while it is being written."""

    def __init__(self, value, action):
        self.value, self.action = np.int32([value]), action

    def __dlpack_device__(self):
        return self.value.__dlpack_device__()

    def __dlpack__(self, **keywords):
        action, self.action = self.action, None
        if action is not None:
            action()
        return self.value.__dlpack__()


SENDER = """
    kept = []
    @hookimpl
    def execute(requests):
        kept.extend((request, request.response_sender()) for request in requests)
        return [None] * len(requests)
"""


@pytest.fixture(params=["", DECOUPLED], ids=["one", "decoupled"])
def deferred(serve, request):
    """Calling gives a request and its sender, and what the client gets."""
    served = serve(SENDER, *INT, extra=request.param)

    def make():
        stream = served.stream(ints(5))
        wait_for(lambda: served.module.kept)
        return *served.module.kept.pop(), stream

    return make


# --- while a response is being made ---------------------------------------------------------------------------------------


def test_a_sender_is_closed_by_the_value_that_it_writes(deferred):
    _, sender, stream = deferred()
    errors = []

    def close():
        try:
            sender.close()
        except InternalError as error:
            errors.append(str(error))

    sender.send(Response({"OUT": Hook(3, close)}), final=True)
    assert errors == ["this thread is already making a response of this request"]
    assert numbers(stream.collect()) == [3]
    assert stream.finals == 1


def test_a_sender_sends_from_the_value_that_it_writes(deferred):
    _, sender, stream = deferred()

    def send():
        sender.send(out(9))

    with pytest.raises(InternalError, match="this thread is already making a response"):
        sender.send(Response({"OUT": Hook(3, send)}))
    sender.send(out(4), final=True)
    assert numbers(stream.collect()) == [4]


def test_a_request_is_released_by_the_value_that_is_written(deferred):
    request, sender, stream = deferred()
    sender.send(Response({"OUT": Hook(3, request.release)}), final=True)
    with pytest.raises(InternalError, match="given back"):
        request["IN"]
    assert numbers(stream.collect()) == [3]


def test_other_threads_wait_until_a_response_is_made(deferred):
    request, sender, stream = deferred()
    threads = []

    def others():
        threads.append(on_thread(request.release))
        threads.append(on_thread(sender.send, out(8)))
        time.sleep(0.1)

    sender.send(Response({"OUT": Hook(3, others)}), final=True)
    for thread, _ in threads:
        thread.join(10)
    assert threads[0][1] == [None]
    assert "nothing can be sent after" in threads[1][1][0]
    assert numbers(stream.collect()) == [3]
    assert stream.finals == 1


def test_an_output_that_comes_too_late(serve):
    served = serve(SENDER, *INT, extra=DECOUPLED)
    stream = served.stream(ints(5))
    wait_for(lambda: served.module.kept)
    request, sender = served.module.kept.pop()
    late = []

    def other():
        late.append(on_thread(request.output, "OUT", [1]))
        time.sleep(0.1)

    sender.send(Response({"OUT": Hook(3, other)}), final=True)
    late[0][0].join(10)
    assert "already answered" in late[0][1][0]
    assert numbers(stream.collect()) == [3]


@pytest.mark.parametrize("extra", ["", DECOUPLED])
def test_a_sender_is_taken_while_the_answer_is_written(serve, extra):
    served = serve(
        """
        found = []
        class Value:
            def __init__(self, request): self.request = request
            def __dlpack_device__(self): return (1, 0)
            def __dlpack__(self, **keywords):
                try:
                    found.append(self.request.response_sender())
                except InternalError as error:
                    found.append(str(error))
                return np.int32([7]).__dlpack__()
        @hookimpl
        def execute(requests):
            return [Response({"OUT": Value(request)}) for request in requests]
        """,
        *INT,
        extra=extra,
    )
    assert numbers(served.responses(ints(1))) == [7]
    assert served.module.found == ["the request is being answered with what execute returned"]


@pytest.mark.parametrize("extra", ["", DECOUPLED])
def test_a_request_is_released_by_a_dimension_of_its_output(serve, extra):
    served = serve(
        """
        kept = []
        @hookimpl
        def execute(requests):
            kept.extend(requests)
            return [Response({"OUT": np.int32([1])}) for _ in requests]
        """,
        *INT,
        extra=extra,
    )
    assert numbers(served.responses(ints(1))) == [1]
    request = served.module.kept.pop()

    class Dimension:
        def __index__(self):
            request.release()
            return 1

    with pytest.raises(InternalError, match="already answered"):
        request.output("OUT", [Dimension()])


def test_a_response_without_its_slots(serve):
    served = serve(
        """
        @hookimpl
        def execute(requests):
            responses = []
            for request in requests:
                response = Response({"OUT": request["IN"]})
                for name in ("reschedule", "error", "parameters"):
                    delattr(response, name)
                responses.append(response)
            return responses
        """,
        *INT,
    )
    assert served.infer(ints(4))["OUT"] == 4


# --- races ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extra", ["", DECOUPLED])
def test_everything_at_once_from_many_threads(serve, extra):
    """Whoever wins, each request is answered once and released once: the fixture looks."""
    served = serve(
        """
        import threading, random, gc
        def use(request, sender, seed):
            chance = random.Random(seed)
            for _ in range(6):
                try:
                    match chance.randrange(9):
                        case 0: sender.send(Response({"OUT": np.int32([1])}))
                        case 1: sender.send(Response({"OUT": np.int32([2])}), final=True)
                        case 2: sender.close()
                        case 3: request.release()
                        case 4: request.output("OUT", [1]).numpy()[:] = 3
                        case 5: request.response_sender()
                        case 6: sender.send(ValueError("no"), final=True)
                        case 7: request["IN"].numpy(), request.is_cancelled(), list(request), request.outputs
                        case 8: sender.send(Response({"OUT": np.int32([1, 2])}))
                except InternalError:
                    pass
        count = 0
        threads = []
        @hookimpl
        def execute(requests):
            global count
            for request in requests:
                count += 1
                sender = request.response_sender()
                threads[:] = [t for t in threads if t.is_alive()]
                for i in range(3):
                    thread = threading.Thread(target=use, args=(request, sender, count * 10 + i))
                    thread.start()
                    threads.append(thread)
            if count % 7 == 0:
                raise ValueError("after all")
            return [None] * len(requests)
        """,
        *INT,
        extra=extra,
    )
    streams = [served.stream(ints(i)) for i in range(400)]
    for stream in streams:
        stream.collect()
        assert stream.finals == 1
    wait_for(lambda: served.module.count == 400)
    for thread in list(served.module.threads):
        thread.join(10)
    served.module.threads.clear()


@pytest.mark.parametrize("extra", ["", DECOUPLED])
def test_plain_answers_and_threads_that_want_the_request_too(serve, extra):
    served = serve(
        """
        import threading, queue
        requests_queue = queue.SimpleQueue()
        def meddle():
            while (request := requests_queue.get()) is not None:
                for action in (lambda: request.output("OUT", [1]).numpy().fill(5), request.response_sender, request.release,
                               lambda: request.output("OUT", [1])):
                    try:
                        action()
                    except InternalError:
                        pass
                del request, action
        threads = [threading.Thread(target=meddle) for _ in range(2)]
        for thread in threads: thread.start()
        @hookimpl
        def execute(requests):
            for request in requests:
                requests_queue.put(request)
                requests_queue.put(request)
            return [Response({"OUT": np.int32([1])}, parameters={"x": 1}) for request in requests]
        """,
        *INT,
        extra=extra,
    )
    streams = [served.stream(ints(i)) for i in range(1000)]
    for stream in streams:
        stream.collect()
        assert stream.finals == 1
    for _ in range(2):
        served.module.requests_queue.put(None)
    for thread in served.module.threads:
        thread.join(10)


# --- coroutines -----------------------------------------------------------------------------------------------------------


ENDERS = {
    "interrupt": "raise KeyboardInterrupt",
    "generator exit": "raise GeneratorExit",
    "an exception of its own": "raise type('Odd', (BaseException,), {})",
    "exit in a task": "asyncio.create_task(leave()); await asyncio.sleep(30)",
    "exit in a callback": "asyncio.get_running_loop().call_soon(sys.exit, 3); await asyncio.sleep(0.05)",
    "stop": "asyncio.get_running_loop().stop(); await asyncio.sleep(0.05)",
}


@pytest.mark.parametrize("how", ENDERS)
@pytest.mark.parametrize("streams", [False, True])
def test_nothing_ends_the_event_loop(serve, how, streams):
    answer = 'Response({"OUT": request["IN"].numpy()})'
    served = serve(
        f"""
        import asyncio, sys
        task = None
        async def leave(): sys.exit(3)
        @hookimpl
        async def execute(request):
            if request["IN"].numpy()[0] == 1:
                {ENDERS[how].replace("await asyncio.sleep(30)", "await asyncio.sleep(0.05)")}
            {"yield" if streams else "return"} {answer}
        """,
        *INT,
        extra=DECOUPLED if streams else "",
    )
    first = served.stream(ints(1))
    found = numbers(first.collect())
    assert first.finals == 1
    if ENDERS[how].startswith("raise"):
        assert found[0].code == 1
    else:
        assert found == [1]
    assert numbers(served.responses(ints(2))) == [2]


def test_a_batch_of_coroutines_with_one_that_ends_badly(serve):
    served = serve(
        """
        @hookimpl
        async def execute(requests):
            if any(request["IN"].numpy()[0] == 1 for request in requests):
                raise KeyboardInterrupt
            return [Response({"OUT": request["IN"].numpy()}) for request in requests]
        """,
        *INT,
    )
    with pytest.raises(InternalError, match="KeyboardInterrupt"):
        served.infer(ints(1))
    assert served.infer(ints(2))["OUT"] == 2


def test_max_concurrent_requests_is_not_used_up_by_failures(serve):
    served = serve(
        """
        @hookimpl
        async def execute(request):
            if request["IN"].numpy()[0] == 1:
                raise KeyboardInterrupt
            return Response({"OUT": request["IN"].numpy()})
        """,
        *INT,
        parameters={"max_concurrent_requests": 1},
    )
    for _ in range(5):
        with pytest.raises(TritonError):
            served.infer(ints(1))
    assert served.infer(ints(2))["OUT"] == 2


def test_a_batch_larger_than_the_limit_is_served(serve):
    served = serve(
        """
        import asyncio
        sizes = []
        @hookimpl
        async def execute(requests):
            sizes.append(len(requests))
            await asyncio.sleep(0.01)
            return [Response({"OUT": request["IN"].numpy()}) for request in requests]
        """,
        *INT,
        batch=4,
        extra=BATCHING % 4,
        parameters={"max_concurrent_requests": 2},
    )
    futures = [served.send({"IN": np.int32([[i]])}) for i in range(12)]
    assert [int(future.result(20)["OUT"][0, 0]) for future in futures] == list(range(12))
    assert max(served.module.sizes) > 2


def test_a_blocked_loop_does_not_hang_the_unload(serve):
    served = serve(
        """
        import time
        @hookimpl
        async def execute(request):
            time.sleep(1.0)
            return Response({"OUT": request["IN"].numpy()})
        """,
        *INT,
    )
    futures = [served.send(ints(i)) for i in range(3)]
    served.core.unload(served.name, timeout=20)
    for future in futures:
        assert future.exception(20) is None


@pytest.mark.parametrize("hook", ["model_finalize", "finalize"])
def test_a_finalize_that_fails_ends_the_loops_thread(serve, hook):
    served = serve(
        f"""
        @hookimpl
        async def execute(request):
            return Response({{"OUT": request["IN"].numpy()}})
        @hookimpl
        def {hook}():
            raise ValueError("not today")
        """,
        *INT,
    )
    served.infer(ints(1))
    served.core.unload(served.name)
    wait_for(lambda: not any(thread.name == f"{served.name} asyncio" for thread in threading.enumerate()))


def test_an_initialize_that_fails_ends_the_loops_thread(serve):
    with pytest.raises(TritonError, match="not today"):
        serve(
            """
            @hookimpl
            async def initialize(instance):
                raise ValueError("not today")
            @hookimpl
            async def execute(request):
                return Response({"OUT": request["IN"].numpy()})
            """,
            *INT,
            name="loop_that_ends",
        )
    wait_for(lambda: not any(thread.name == "loop_that_ends asyncio" for thread in threading.enumerate()))


def test_an_instance_that_is_taken_away_drains(serve):
    served = serve(
        """
        import asyncio
        @hookimpl
        async def execute(instance, request):
            await asyncio.sleep(0.5)
            return Response({"OUT": request["IN"].numpy()})
        """,
        *INT,
        extra="instance_group { kind: KIND_CPU count: 3 }",
    )
    config = served.repository / served.name / "config.pbtxt"
    for count in (1, 4, 2):
        futures = [served.send(ints(i)) for i in range(30)]
        time.sleep(0.05)
        text = config.read_text()
        start = text.index("count:")
        config.write_text(text[:start] + f"count: {count} }}")
        served.core.load(served.name)
        assert [int(future.result(20)["OUT"][0]) for future in futures] == list(range(30))
    assert served.infer(ints(7))["OUT"] == 7


def test_an_instance_that_is_taken_away_from_its_senders(serve):
    """Nothing drains senders: they answer for an instance that is gone."""
    served = serve(SENDER, *INT, extra="instance_group { kind: KIND_CPU count: 2 }")
    stream = [served.stream(ints(i)) for i in range(20)]
    wait_for(lambda: len(served.module.kept) == 20)
    config = served.repository / served.name / "config.pbtxt"
    config.write_text(config.read_text().replace("count: 2", "count: 1"))
    served.core.load(served.name)
    wait_for(lambda: any(request.instance is None for request, _ in served.module.kept))
    for i, (request, sender) in enumerate(served.module.kept):
        if i % 3 == 0:
            sender.send(ValueError("too late"))
        else:
            request.output("OUT", [1]).numpy()[:] = 5
            sender.send(Response())
    del request, sender
    served.module.kept.clear()
    for one in stream:
        assert len(one.collect()) == 1
        assert one.finals == 1


def test_slow_log_of_a_released_request(serve):
    served = serve(
        """
        @hookimpl
        def execute(requests):
            values = [request["IN"].numpy().copy() for request in requests]
            for request in requests:
                request.release()
            return [Response({"OUT": value}) for value in values]
        """,
        *INT,
        parameters={"slow_execute_ms": 0.000001},
    )
    assert served.infer(ints(3), request_id="the-id")["OUT"] == 3
    assert "['the-id'] took" in served.log
