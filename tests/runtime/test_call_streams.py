"""Calls to decoupled models: the responses as they come, and what happens when nobody wants more of them."""

import numpy as np
import pytest

from triton_backend_sdk.errors import CancelledError, InternalError, InvalidArgError

DECOUPLED = "model_transaction_policy { decoupled: true }"
#: Gives 0, 1, ... up to IN's element; 100 and more endlessly; below 0 fails after that many.
COUNT = """
import threading, time
stopped = threading.Event()
sent = []
def count(request):
    wanted = int(request["IN"].numpy()[0])
    try:
        for n in range(abs(wanted)):
            sent.append(n)
            if wanted >= 100:
                time.sleep(0.002)
            yield Response({"OUT": np.float32([n])}, parameters={"n": n})
        if wanted < 0:
            raise InvalidArgError("no more than that")
    finally:
        stopped.set()
@hookimpl
def execute(requests):
    return [count(request) for request in requests]
"""
CALLER = """
import asyncio
held = []
@hookimpl
def execute(instance, requests):
    server, target = instance.model.server, instance.model.parameters["target"]
    return [Response({{"OUT": np.float32(act(server, target, request))}}) for request in requests]
{act}
"""


@pytest.fixture
def calling(serve):
    """A plugin whose ``act(server, target, request)`` calls a model that counts; what it gives is OUT."""

    def make(act, callee=COUNT, **config):
        target = serve(callee, extra=DECOUPLED)
        import textwrap

        source = CALLER.format(act=textwrap.dedent(act))
        return serve(source, beside=target, parameters={"target": target.name}, **config), target

    return make


def infer(caller, n):
    return caller.infer({"IN": np.float32([n])})["OUT"].tolist()


SYNC = """
def act(server, target, request):
    assert server.is_decoupled(target)
    return [r["OUT"].numpy()[0] for r in server.stream(target, request)]
"""
ASYNC = """
def act(server, target, request):
    async def main():
        return [r["OUT"].numpy()[0] async for r in server.stream(target, request)]
    return asyncio.run(main())
"""


@pytest.mark.parametrize("act", [SYNC, ASYNC], ids=["for", "async for"])
@pytest.mark.parametrize("count", [0, 1, 5, 99])
def test_all_responses_come_in_their_order(calling, act, count):
    caller, _ = calling(act)
    assert infer(caller, count) == list(range(count))


def test_responses_have_parameters_and_may_be_kept(calling):
    caller, _ = calling("""
        def act(server, target, request):
            all = list(server.stream(target, request))
            assert [r.parameters for r in all] == [{"n": 0}, {"n": 1}, {"n": 2}]
            return [r["OUT"].numpy()[0] for r in all]
        """)
    assert infer(caller, 3) == [0, 1, 2]


@pytest.mark.parametrize("act", [SYNC, ASYNC], ids=["for", "async for"])
def test_an_error_in_the_stream_keeps_its_code(calling, act):
    caller, target = calling(act)
    with pytest.raises(InvalidArgError, match="no more than that"):
        infer(caller, -2)
    assert target.module.sent == [0, 1]


@pytest.mark.parametrize(
    "act",
    [
        """
        def act(server, target, request):
            for r in server.stream(target, request):
                if r["OUT"].numpy()[0] == 3:
                    break
            return [3]
        """,
        """
        def act(server, target, request):
            async def main():
                async for r in server.stream(target, request):
                    if r["OUT"].numpy()[0] == 3:
                        return [3]
            return asyncio.run(main())
        """,
        """
        def act(server, target, request):
            with server.stream(target, request) as stream:
                held.append(stream)
                next(stream)
            assert list(stream) == [] and stream.done()
            return [3]
        """,
        """
        def act(server, target, request):
            stream = server.stream(target, request)
            held.append(stream)
            next(stream)
            stream.cancel()
            assert list(stream) == [] and stream.done()
            return [3]
        """,
        """
        def act(server, target, request):
            async def main():
                stream = server.stream(target, request)
                held.append(stream)
                async def read():
                    async for r in stream:
                        pass
                task = asyncio.create_task(read())
                await asyncio.sleep(0.05)
                task.cancel()
                await asyncio.wait([task])
                assert task.cancelled() and stream.done()
            asyncio.run(main())
            return [3]
        """,
        """
        def act(server, target, request):
            stream = server.stream(target, request, timeout=0.1)
            try:
                for r in stream:
                    pass
            except TimeoutError as error:
                assert "did not answer within the call's timeout" in str(error)
            assert list(stream) == []
            return [3]
        """,
    ],
    ids=["break", "async break", "with", "cancel", "task", "timeout"],
)
def test_who_wants_no_more_stops_the_model(calling, act):
    caller, target = calling(act)
    assert infer(caller, 100_000) == [3]
    assert target.module.stopped.wait(5)
    caller.module.held.clear()


@pytest.mark.parametrize(
    ("count", "gave"), [(0, "no response"), (2, "more than one response"), (200, "more than one")]
)
@pytest.mark.parametrize("call", ["infer(target, request)", "start(target, request).result()"])
def test_a_plain_call_wants_one_response(calling, call, count, gave):
    caller, target = calling(f"def act(server, target, request):\n    return server.{call}['OUT']")
    assert infer(caller, 1) == [0]
    with pytest.raises(InternalError, match=f"gave {gave}.*use stream"):
        infer(caller, count)
    assert count < 100 or target.module.stopped.wait(5)


@pytest.mark.parametrize(
    "wait",
    [
        "server.infer(target, request, parent=request)",
        "asyncio.run(server.infer_async(target, request, parent=request))",
        "server.start(target, request, parent=request).result()",
        "list(server.stream(target, request, parent=request))",
    ],
)
def test_the_cancellation_of_the_parent_reaches_the_child(serve, wait):
    """The client of the caller goes away: whom it called notices."""
    target = serve(
        """
        import threading, time
        entered, stopped = threading.Event(), threading.Event()
        @hookimpl
        def execute(requests):
            entered.set()
            while not requests[0].is_cancelled():
                time.sleep(0.002)
            stopped.set()
            return [CancelledError("the client went away") for _ in requests]
        """
    )
    caller = serve(
        f"""
        import asyncio
        @hookimpl
        def execute(instance, requests):
            server, target = instance.model.server, instance.model.parameters["target"]
            for request in requests:
                {wait}
        """,
        beside=target,
        parameters={"target": target.name},
    )
    call = caller.send({"IN": np.float32([1])})
    assert target.module.entered.wait(5)
    call.cancel_request()
    assert target.module.stopped.wait(5)
    with pytest.raises(CancelledError):
        call.result(5)


def test_an_async_execute_may_call_its_own_model(serve):
    """It occupies no instance while it awaits, so one instance is enough."""
    model = serve(
        """
        @hookimpl
        async def execute(instance, requests):
            responses = []
            for request in requests:
                n = request["IN"].numpy()[0]
                if n > 0:
                    again = await instance.model.server.infer_async(instance.model.name, {"IN": np.float32([n - 1])}, timeout=10)
                    n += again["OUT"].numpy()[0]
                responses.append(Response({"OUT": np.float32([n])}))
            return responses
        """
    )
    assert infer(model, 4) == [4 + 3 + 2 + 1]


def test_a_thousand_streams_that_are_dropped_leave_nothing_behind(calling):
    caller, _ = calling("""
        def act(server, target, request):
            for n in range(250):
                stream = server.stream(target, request)
                if n % 2:
                    next(stream)
            async def main():
                for n in range(250):
                    async for r in server.stream(target, request):
                        break
            asyncio.run(main())
            return [1]
        """)
    assert infer(caller, 50) == [1]
    assert caller.core.wait_released()


def test_options_of_sequences_reach_the_called_model(serve):
    target = serve(
        """
        seen = []
        @hookimpl
        def execute(requests):
            seen.extend((r.correlation_id, int(r.flags)) for r in requests)
            return [Response({"OUT": r["IN"]}) for r in requests]
        """,
        extra="sequence_batching { }",
    )
    caller = serve(
        """
        @hookimpl
        def execute(instance, requests):
            server, target = instance.model.server, instance.model.parameters["target"]
            for options in ({"sequence_start": True}, {}, {"sequence_end": True}):
                server.infer(target, requests[0], correlation_id=7, **options)
            server.infer(target, requests[0], correlation_id="seven", sequence_start=True, flags=2)
            return [Response({"OUT": r["IN"]}) for r in requests]
        """,
        beside=target,
        parameters={"target": target.name},
    )
    caller.infer({"IN": np.float32([1])})
    assert target.module.seen == [(7, 1), (7, 0), (7, 2), ("seven", 3)]


def test_a_traced_request_has_its_calls_as_children(serve):
    from triton_backend_sdk.testing import CoreTrace

    target = serve(
        "@hookimpl\ndef execute(requests):\n return [Response({'OUT': r['IN']}) for r in requests]"
    )
    caller = serve(
        """
        @hookimpl
        def execute(instance, requests):
            server, target = instance.model.server, instance.model.parameters["target"]
            return [Response({"OUT": server.infer(target, r, parent=r)["OUT"]}) for r in requests]
        """,
        beside=target,
        parameters={"target": target.name},
    )
    trace = CoreTrace()
    caller.infer({"IN": np.float32([1])}, trace=trace)
    assert caller.core.wait_released()
    [child] = trace.children(trace.events[0].trace_id)
    assert "COMPUTE_START" in " ".join(trace.names(child))
