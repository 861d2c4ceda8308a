"""execute as a coroutine, in the real core: at the same time, cancelled with its client, drained at unload."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from tests.runtime.conftest import drain, ints, wait_for
from triton_backend_sdk import CancelledError, InternalError, InvalidArgError, TritonError, UnavailableError

DECOUPLED = "model_transaction_policy { decoupled: true }"
INT = {"IN": ("INT32", [1])}, {"OUT": ("INT32", [1])}


BARRIER = """
    import asyncio
    waiting, most, event = 0, 0, None
    @hookimpl
    async def execute(request):
        global waiting, most, event
        event = event or asyncio.Event()
        waiting += 1
        most = max(most, waiting)
        if waiting == int(request.parameters["n"]):
            event.set()
        await event.wait()
        waiting -= 1
        return Response({"OUT": request["IN"].numpy() + 1})
"""


def test_requests_are_served_at_the_same_time_by_one_instance(serve):
    served = serve(BARRIER, *INT)
    futures = [
        served.send(ints(i), parameters={"n": 50}) for i in range(50)
    ]  # none ends before all have come
    assert [int(future.result(20)["OUT"][0]) for future in futures] == list(range(1, 51))


def test_max_concurrent_requests_holds_the_rest_back(serve):
    served = serve(BARRIER, *INT, parameters={"max_concurrent_requests": "3"})
    futures = [served.send(ints(i), parameters={"n": 3}) for i in range(9)]
    for future in futures:
        future.result(20)
    assert served.module.most == 3


@pytest.mark.parametrize("value", ["0", "-1", "many"])
def test_max_concurrent_requests_must_make_sense(serve, value):
    with pytest.raises(TritonError, match="max_concurrent_requests"):
        serve(BARRIER, *INT, parameters={"max_concurrent_requests": value})


def test_an_async_generator_streams(serve):
    served = serve(
        """
        import asyncio
        @hookimpl
        async def execute(instance, request):
            for i in range(int(request["IN"].numpy()[0])):
                await asyncio.sleep(0.001)
                yield Response({"OUT": np.int32([i])})
        """,
        *INT,
        extra=DECOUPLED,
    )
    streams = [served.core.stream(served.name, ints(20), timeout=20) for _ in range(10)]
    for responses in streams:
        assert [int(item["OUT"][0]) for item in drain(responses)] == list(range(20))
        assert responses.finals == 1


def test_a_coroutine_in_a_decoupled_model_answers_once(serve):
    served = serve(
        '@hookimpl\nasync def execute(request):\n    return Response({"OUT": request["IN"].numpy()})',
        *INT,
        extra=DECOUPLED,
    )
    responses = served.core.stream(served.name, ints(4), timeout=20)
    assert [int(item["OUT"][0]) for item in drain(responses)] == [4]
    assert responses.finals == 1


BATCHES = """
    import asyncio
    @hookimpl
    async def execute(requests):
        await asyncio.sleep(0.01)
        if any(r["IN"].numpy()[0, 0] == 13 for r in requests):
            raise UnavailableError("unlucky")
        if any(r["IN"].numpy()[0, 0] == 14 for r in requests):
            return []
        return [
            ValueError("odd") if r["IN"].numpy()[0, 0] % 2 else Response({"OUT": r["IN"].numpy()}) for r in requests
        ]
"""


def test_batches_are_served_as_coroutines_too(serve):
    served = serve(
        BATCHES,
        *INT,
        batch=4,
        extra="dynamic_batching { max_queue_delay_microseconds: 50000 preferred_batch_size: [4] }",
    )
    futures = [served.send({"IN": np.int32([[i]])}) for i in range(8)]
    for i, future in enumerate(futures):
        if i % 2:
            with pytest.raises(InvalidArgError, match="odd"):
                future.result(20)
        else:
            assert future.result(20)["OUT"] == i


@pytest.mark.parametrize(
    ("value", "error", "why"), [(13, UnavailableError, "unlucky"), (14, InternalError, "returned 0 for")]
)
def test_a_batch_that_fails_as_a_whole(serve, value, error, why):
    served = serve(
        BATCHES,
        *INT,
        batch=4,
        extra="dynamic_batching { max_queue_delay_microseconds: 300000 preferred_batch_size: [4] }",
    )
    futures = [served.send({"IN": np.int32([[i]])}) for i in (value, 2, 4, 6)]
    for future in futures:
        with pytest.raises(error, match=why):
            future.result(20)
    assert served.log.count("execute failed") == 1


@pytest.mark.parametrize(
    ("body", "code", "why"),
    [
        ("raise FileNotFoundError('weights')", 2, "weights"),
        ("raise SystemExit(3)", 1, "SystemExit"),
        ("return None", 1, "gave NoneType as a response"),
        ("return Response()", 1, "lacks output 'OUT'"),
        ("return Response({'OUT': np.float32([1])})", 1, "is FP32"),
        ("raise asyncio.CancelledError", 7, "execute was cancelled"),
        ("await asyncio.wait_for(asyncio.sleep(9), 0.01)", 4, "TimeoutError"),
    ],
)
def test_what_a_coroutine_does_wrong(serve, body, code, why):
    served = serve(f"import asyncio\n@hookimpl\nasync def execute(request):\n    {body}", *INT)
    with pytest.raises(TritonError, match=why) as caught:
        served.infer(ints(1))
    assert caught.value.code == code
    assert served.core.wait_released(5)
    with pytest.raises(TritonError):
        served.infer(ints(1))


def test_an_async_generator_that_raises_half_way(serve):
    served = serve(
        """
        @hookimpl
        async def execute(request):
            yield Response({"OUT": np.int32([0])})
            raise ValueError("half-way")
        """,
        *INT,
        extra=DECOUPLED,
    )
    responses = served.core.stream(served.name, ints(4), timeout=20)
    good, error = drain(responses)
    assert good["OUT"] == 0
    assert "half-way" in str(error)
    assert responses.finals == 1


CANCELLED = """
    import asyncio
    seen = []
    @hookimpl
    async def execute(request):
        seen.append("started")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise
"""


def test_a_coroutine_is_cancelled_with_its_client(serve):
    served = serve(CANCELLED, *INT)
    futures = [served.send(ints(i)) for i in range(3)]
    wait_for(lambda: len(served.module.seen) == 3)
    futures[1].cancel_request()
    with pytest.raises(CancelledError, match="the client cancelled the request"):
        futures[1].result(10)
    assert served.module.seen.count("cancelled") == 1
    assert not futures[0].done()
    for future in futures:
        future.cancel_request()
    for future in futures:
        assert isinstance(future.exception(10), CancelledError)


def test_an_async_generator_is_cancelled_and_closed(serve):
    served = serve(
        """
        import asyncio
        seen = []
        @hookimpl
        async def execute(request):
            try:
                while True:
                    yield Response({"OUT": np.int32([0])})
                    await asyncio.sleep(0.001)
            finally:
                seen.append("closed")
        """,
        *INT,
        extra=DECOUPLED,
    )
    responses = served.core.stream(served.name, ints(4), timeout=20)
    next(responses)
    responses.cancel()
    *_, last = drain(responses)
    assert isinstance(last, CancelledError)
    assert served.module.seen == ["closed"]


def test_a_coroutine_may_answer_its_cancellation(serve):
    served = serve(
        """
        import asyncio
        started = []
        @hookimpl
        async def execute(request):
            started.append(True)
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                return Response({"OUT": np.int32([-1])})
        """,
        *INT,
    )
    future = served.send(ints(1))
    wait_for(lambda: served.module.started)
    future.cancel_request()
    assert future.result(10)["OUT"] == -1


def test_async_hooks_run_on_the_loop_that_execute_runs_on(serve):
    served = serve(
        """
        import asyncio, threading
        class Plugin:
            @hookimpl
            async def initialize(self, instance):
                self.loop, self.thread = asyncio.get_running_loop(), threading.current_thread()
                self.lock = asyncio.Lock()
                log.append("initialize")
            @hookimpl
            async def execute(self, request):
                async with self.lock:
                    same = self.loop is asyncio.get_running_loop() and self.thread is threading.current_thread()
                return Response({"OUT": np.int32([same])})
            @hookimpl
            async def finalize(self, instance):
                await asyncio.sleep(0.001)
                log.append("finalize")
        log = []
        """,
        *INT,
        extra="instance_group { kind: KIND_CPU count: 2 }",
    )
    module = served.module
    assert [served.infer(ints(1))["OUT"] for _ in range(4)] == [1] * 4
    assert len([t for t in threading.enumerate() if t.name == f"{served.name} asyncio"]) == 1
    served.core.unload(served.name)
    assert module.log == ["initialize"] * 2 + ["finalize"] * 2
    wait_for(lambda: not [t for t in threading.enumerate() if t.name == f"{served.name} asyncio"])


@pytest.mark.parametrize("hook", ["initialize", "finalize"])
def test_an_async_hook_that_fails(serve, hook):
    source = f"""
        @hookimpl
        async def {hook}(instance):
            raise FileNotFoundError("weights")
        @hookimpl
        async def execute(request):
            return Response({{"OUT": request["IN"].numpy()}})
    """
    if hook == "initialize":
        with pytest.raises(TritonError, match="weights"):
            serve(source, *INT)
    else:
        served = serve(source, *INT)
        served.infer(ints(1))
        served.core.unload(served.name)
        assert "weights" in served.log


def test_an_unload_waits_for_coroutines(serve):
    served = serve(
        """
        import asyncio
        started = []
        @hookimpl
        async def execute(request):
            started.append(True)
            await asyncio.sleep(0.5)
            return Response({"OUT": request["IN"].numpy()})
        """,
        *INT,
    )
    future = served.send(ints(8))
    wait_for(lambda: served.module.started)
    served.core.unload(served.name)
    assert future.result(0)["OUT"] == 8


NEVER = """
    import asyncio
    started, seen = [], []
    @hookimpl
    async def execute(request):
        started.append(True)
        while True:
            try:
                await asyncio.sleep(0.05)
            except asyncio.CancelledError:
                seen.append("cancelled")
                {then}
"""


@pytest.mark.parametrize("then", ["raise", "pass"])
def test_a_coroutine_that_never_ends_does_not_hold_up_an_unload_for_ever(serve, then):
    served = serve(NEVER.format(then=then), *INT, parameters={"drain_seconds": "0.2"})
    module = served.module
    future = served.send(ints(8))
    wait_for(lambda: module.started)
    served.core.unload(served.name, timeout=20)
    with pytest.raises(
        UnavailableError, match=r"is being unloaded, and its execute did not end within 0.2 s"
    ):
        future.result(0)
    assert "cancelled" in module.seen
    assert ("goes on after its cancellation" in served.log) == (then == "pass")


def test_a_reload_drains_what_it_replaces(serve):
    served = serve(NEVER.format(then="raise"), *INT, parameters={"drain_seconds": "0.2"})
    future = served.send(ints(8))
    wait_for(lambda: served.module.started)
    config = served.repository / served.name / "config.pbtxt"
    config.write_text(config.read_text() + 'parameters { key: "other" value { string_value: "1" } }')
    served.core.load(served.name)
    with pytest.raises(UnavailableError, match="did not end within"):
        future.result(20)


def test_a_response_in_place_from_a_coroutine(serve):
    served = serve(
        """
        import asyncio
        @hookimpl
        async def execute(request):
            out = request.output("OUT", [1]).numpy()
            await asyncio.sleep(0.001)
            out[:] = request["IN"].numpy() * 2
            return Response()
        """,
        *INT,
    )
    assert served.infer(ints(21))["OUT"] == 42


def test_ten_thousand_requests_leave_nothing(serve):
    served = serve(
        """
        import asyncio
        @hookimpl
        async def execute(request):
            await asyncio.sleep(0)
            return Response({"OUT": request["IN"].numpy()})
        """,
        *INT,
        parameters={"max_concurrent_requests": "64"},
    )
    for _ in range(20):
        futures = [served.send(ints(i)) for i in range(500)]
        assert [int(future.result(20)["OUT"][0]) for future in futures] == list(range(500))
    assert served.core.wait_released(5)
    assert served.core.statistics(served.name)["inference_count"] == 10_000
