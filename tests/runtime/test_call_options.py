"""Options of a call for those who know what they do: where it waits, its own timeout, how it ends."""

import numpy as np
import pytest

from triton_backend_sdk.errors import InternalError

ONES = {"IN": np.ones(1, np.float32)}
STREAMS = """
import threading
go, asked = threading.Event(), []
@hookimpl
def execute(requests):
    asked.extend(r.timeout_us for r in requests)
    for request in requests:
        sender = request.response_sender()
        threading.Thread(target=work, args=(sender, request["IN"].numpy()[0])).start()
    return [None] * len(requests)
def work(sender, kind):
    sender.send(Response({"OUT": np.float32([1])}))
    if kind == 2:  # until it is cancelled
        while not sender.is_cancelled():
            go.wait(0.005)
        sender.send(CancelledError("as you like"))
    sender.close() if kind != 1 else sender.send(Response({"OUT": np.float32([2])}), final=True)
"""


@pytest.fixture
def streaming(acting):
    """A caller of a decoupled model: 0 in gives one response and a bare end, 1 two, 2 one until it is cancelled."""

    def make(act):
        return acting(act, STREAMS, target={"extra": "model_transaction_policy { decoupled: true }"})

    return make


@pytest.mark.parametrize(("given", "count", "bare"), [(0, 1, True), (1, 2, False)])
def test_a_stream_tells_whether_its_end_came_by_itself(streaming, given, count, bare):
    caller, _ = streaming(
        """
        def act(server, target, request):
            stream = server.stream(target, request)
            before = stream.ended_bare()
            return [len(list(stream)), stream.ended_bare(), before]
        """
    )
    assert caller.infer({"IN": np.float32([given])})["OUT"].tolist() == [count, bare, False]


def test_a_stream_that_is_cancelled_can_be_drained(streaming):
    caller, _ = streaming(
        """
        def act(server, target, request):
            stream = server.stream(target, request)
            next(stream)
            stream.cancel(drain=True)
            stream.cancel(drain=True)
            try:
                next(stream)
            except CancelledError as error:
                kept.append(str(error))
            return [len(list(stream)), stream.done()]
        """
    )
    assert caller.infer({"IN": np.float32([2])})["OUT"].tolist() == [0, 1]
    assert caller.module.kept == ["as you like"]


def test_a_call_may_wait_where_a_loop_runs(acting):
    caller, _ = acting(
        """
        async def wait(server, target, request):
            many = server.stream(target, request, wait_here=True)
            one = server.start(target, request, wait_here=True)
            both = [server.infer(target, request, wait_here=True), one.result(), *many]
            return [float(answer["OUT"].numpy()[0]) for answer in both]
        def act(server, target, request):
            return asyncio.run(wait(server, target, request))
        """
    )
    assert caller.infer(ONES)["OUT"].tolist() == [2, 2, 2]


def test_a_detached_call_goes_to_its_end(acting):
    caller, target = acting(
        """
        def act(server, target, request):
            for begin in server.start, server.stream:
                call = begin(target, {"IN": np.ones(3, np.float32)})
                call.detach()
                call.cancel()
                del call
            call = server.start(target, request)
            call.detach()
            return call.result()["OUT"].numpy()
        """,
        """
        import time
        seen = []
        @hookimpl
        def execute(requests):
            time.sleep(0.02)
            seen.extend(request.is_cancelled() for request in requests)
            return [Response({"OUT": request["IN"]}) for request in requests]
        """,
    )
    assert caller.infer(ONES)["OUT"].tolist() == [1]
    assert target.module.seen == [False] * 3


def test_a_circle_is_refused_before_the_call_is_sent(acting):
    caller, _ = acting(
        """
        def act(server, target, request):
            kept.append(request.id)
            for begin in server.start, server.stream:
                try:
                    begin(request.instance.model.name, request, request_id="inner", wait_here=True)
                except UnavailableError as error:
                    kept.append("refused")
            both = [server.start(target, request, wait_here=True) for _ in range(2)]
            return [sum(float(call.result()["OUT"].numpy()[0]) for call in both)]
        """
    )
    assert caller.infer(ONES)["OUT"].tolist() == [4]
    assert caller.core.wait_released(5)
    assert caller.module.kept[:3] == ["", "refused", "refused"]
    assert "inner" not in caller.module.kept


def test_the_requests_own_timeout_ends_no_wait(streaming):
    caller, target = streaming(
        """
        def act(server, target, request):
            list(server.stream(target, request, timeout_us=1))
            list(server.stream(target, request, timeout_us=7, timeout=30))
            list(server.stream(target, request, timeout=30))
            return [1]
        """
    )
    caller.infer(ONES)
    assert target.module.asked == [1, 7, 30_000_000]


def test_an_error_tells_whether_the_model_answered_so(acting):
    caller, target = acting(
        """
        def act(server, target, request):
            for name, kind in (target, server.infer), (target, server.stream), ("nobody", server.infer):
                try:
                    list(kind(name, request))
                except TritonError as error:
                    kept.append(error.model)
            return [0]
        """,
        "@hookimpl\ndef execute(requests): raise NotFoundError('no')",
    )
    caller.infer(ONES)
    assert caller.module.kept == [target.name, target.name, ""]


@pytest.mark.parametrize("given", ["timeout_us='a'", "timeout_us=-1", "memory='x'"])
def test_what_is_no_option_is_refused(acting, given):
    caller, _ = acting(f"def act(server, target, request): return server.infer(target, request, {given})")
    with pytest.raises(Exception, match=r"."):
        caller.infer(ONES)


def test_outputs_lie_where_the_model_likes(acting):
    caller, _ = acting(
        """
        def act(server, target, request):
            answer = server.infer(target, request, memory=None)
            return [answer["OUT"].numpy()[0], answer["OUT"].memory_type is MemoryType.CPU]
        """
    )
    assert caller.infer(ONES)["OUT"].tolist() == [2, 1]


def test_a_trace_without_a_parent(acting):
    caller, _ = acting(
        "def act(server, target, request): return server.infer(target, request, trace=request.trace)['OUT'].numpy()"
    )
    assert caller.infer(ONES)["OUT"].tolist() == [2]
    with pytest.raises(InternalError, match="no option 'tracing'"):
        acting("def act(server, target, request): return server.infer(target, request, tracing=1)")[0].infer(
            ONES
        )
