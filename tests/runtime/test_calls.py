"""Calls to other models, in one core: what arrives, what comes back, and what is alive afterwards."""

import gc
import threading
import time

import numpy as np
import pytest

from triton_backend_sdk.errors import (
    CancelledError,
    InternalError,
    InvalidArgError,
    TritonError,
    UnavailableError,
)

DOUBLE = """
seen = []
@hookimpl
def execute(instance, requests):
    seen.extend((r.id, r["IN"].numpy().ctypes.data, dict(r.parameters)) for r in requests)
    return [Response({"OUT": r["IN"].numpy() * 2}) for r in requests]
"""
CALLER = """
addresses = []
@hookimpl
def execute(instance, requests):
    server, target = instance.model.server, instance.model.parameters["target"]
    responses = []
    for request in requests:
        answer = {call}
        responses.append(Response({{"OUT": answer["OUT"]}}))
    return responses
"""
ONES = {"IN": np.ones(4, np.float32)}


@pytest.fixture
def pair(serve):
    """A caller and the model it calls; ``call`` is the expression that makes the call."""

    def make(call, callee=DOUBLE, *, caller=CALLER, **config):
        target = serve(callee, **config.pop("target", {}))
        source = caller.format(call=call) if caller is CALLER else caller
        return serve(source, beside=target, parameters={"target": target.name}, **config), target

    return make


@pytest.mark.parametrize(
    "call",
    [
        "server.infer(target, {'IN': request['IN']})",
        "server.infer(target, request)",
        "server.infer(target, {'IN': request['IN'].numpy()})",
        "server.infer(target, {'IN': memoryview(request['IN'])})",
        "server.start(target, request).result()",
        "server.start(target, request).result(timeout=5)",
        "__import__('asyncio').run(server.infer_async(target, request))",
        "next(server.stream(target, request))",
        "list(server.stream(target, request))[0]",
    ],
)
def test_a_model_calls_another_which_reads_the_very_memory(pair, call):
    caller, target = pair(call.replace("request)", "request, request_id='me')"))
    given = np.arange(4, dtype=np.float32)
    assert caller.infer({"IN": given})["OUT"].tolist() == [0, 2, 4, 6]
    assert [address for _, address, _ in target.module.seen] == [given.ctypes.data]


def test_a_chain_of_models_copies_nothing(serve):
    target = serve(DOUBLE)
    caller = serve(
        """
        addresses = []
        @hookimpl
        def execute(instance, requests):
            server, target = instance.model.server, instance.model.parameters["target"]
            first = server.infer(target, requests[0])
            second = server.infer(target, {"IN": first["OUT"]})
            array = second["OUT"].numpy()
            addresses.extend([first["OUT"].numpy().ctypes.data, array.ctypes.data % 64, array.flags.writeable])
            return [Response({"OUT": array})]
        """,
        beside=target,
        parameters={"target": target.name},
    )
    assert caller.infer(ONES)["OUT"].tolist() == [4] * 4
    first, misaligned, writeable = caller.module.addresses
    assert target.module.seen[1][1] == first
    assert (misaligned, writeable) == (0, True)


def test_an_input_in_several_buffers_goes_on_in_as_many(pair):
    parts = [np.full(2, n, np.float32) for n in range(3)]
    caller, _ = pair("server.infer(target, request)")
    assert caller.infer({"IN": parts})["OUT"].tolist() == [0, 0, 2, 2, 4, 4]


def test_strided_arrays_and_strings_are_serialized_once(serve):
    target = serve(
        "@hookimpl\ndef execute(requests):\n return [Response({'OUT': [b''.join(r['S'].tolist())], 'N': r['IN']}) for r in requests]",
        inputs={"S": ("BYTES", [-1]), "IN": ("FP32", [-1])},
        outputs={"OUT": ("BYTES", [1]), "N": ("FP32", [-1])},
    )
    caller = serve(
        """
        @hookimpl
        def execute(instance, requests):
            given = {"S": ["a", b"bc", "d"], "IN": np.arange(6, dtype=np.float32)[::-2]}
            answer = instance.model.server.infer(instance.model.parameters["target"], given)
            assert answer["OUT"].tolist() == [b"abcd"]
            again = instance.model.server.infer(instance.model.parameters["target"], {"S": answer["OUT"], "IN": answer["N"]})
            assert again["OUT"].tolist() == [b"abcd"]
            return [Response({"OUT": again["N"]})]
        """,
        beside=target,
        parameters={"target": target.name},
    )
    assert caller.infer(ONES)["OUT"].tolist() == [5, 3, 1]


def test_options_reach_the_called_model(pair):
    caller, target = pair(
        "server.infer(target, request, request_id='child', version=1, outputs=['OUT'], priority=2, timeout=10,"
        " parameters={'s': 'x', 'i': 3, 'b': True, 'f': 0.5}, parent=request)"
    )
    caller.infer(ONES)
    assert target.module.seen[0][0] == "child"
    parameters = target.module.seen[0][2]
    assert {name: parameters[name] for name in "sibf"} == {"s": "x", "i": 3, "b": True, "f": 0.5}
    assert [type(parameters[name]) for name in "sibf"] == [str, int, bool, float]


def test_the_response_says_who_answered(serve):
    target = serve(DOUBLE)
    caller = serve(
        """
        @hookimpl
        def execute(instance, requests):
            name = instance.model.parameters["target"]
            answer = instance.model.server.infer(name, requests[0], request_id="7")
            assert (answer.model, answer.version, answer.id, answer.parameters) == (name, 1, "7", {})
            assert list(answer) == answer.keys() == ["OUT"] and len(answer) == 1 and "OUT" in answer
            assert answer.get("NO") is None and [k for k, _ in answer.items()] == ["OUT"]
            try:
                answer["NO"]
            except NotFoundError as error:
                assert "has no output 'NO'; it has ('OUT',)" in str(error)
            else:
                raise AssertionError
            return [Response({"OUT": answer["OUT"]})]
        """,
        beside=target,
        parameters={"target": target.name},
    )
    assert caller.infer(ONES)["OUT"].tolist() == [2] * 4


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        ("server.infer('nobody', request)", TritonError, "'nobody'"),
        ("server.infer(target, request, version=9)", TritonError, "version 9"),
        ("server.infer(target, {'NO': request['IN']})", InvalidArgError, "NO"),
        ("server.infer(target, {})", InvalidArgError, "expected 1 inputs but got 0"),
        ("server.infer(target, {'IN': np.zeros(4, np.int32)})", InvalidArgError, "INT32"),
        ("server.infer(target, {'IN': np.zeros((2, 2), np.float32)})", InvalidArgError, "shape"),
        ("server.infer(target, request, outputs=['NO'])", InvalidArgError, "NO"),
        ("server.infer(target, {'IN': [1.0]})", InternalError, "input 'IN' for model 'plugin_"),
        ("server.infer(target, {'IN': object()})", InternalError, "give an array"),
        ("server.infer(target, {1: request['IN']})", InternalError, "1 is no name of an input"),
        ("server.infer(target, request, outputs='OUT')", InternalError, "'OUT' is one"),
        (
            "server.infer(target, request, parameters={'p': b'x'})",
            InternalError,
            "give str, int, bool or float",
        ),
        ("server.infer(target, request, parameters={'p': 1 << 70})", InternalError, "OverflowError"),
        ("server.infer(target, request, timeout=0)", InternalError, "above 0"),
        ("server.infer(target, request, parent=3)", InternalError, "parent is the Request"),
        ("server.infer(target, request, priority=-1)", InternalError, "OverflowError"),
        ("server.infer(target, request, frobnicate=1)", InternalError, "frobnicate"),
    ],
)
def test_a_bad_call_is_a_clear_error(pair, call, error, text):
    caller, _ = pair(call)
    with pytest.raises(error, match=text):
        caller.infer(ONES)
    assert caller.core.wait_released()


@pytest.mark.parametrize(
    "name", ["NotFoundError", "InvalidArgError", "UnavailableError", "UnsupportedError", "CancelledError"]
)
def test_the_error_of_the_called_model_keeps_its_code(pair, name):
    callee = f"@hookimpl\ndef execute(requests):\n raise {name}('not this one')"
    caller, _ = pair("server.infer(target, request)", callee)
    with pytest.raises(TritonError, match="not this one") as caught:
        caller.infer(ONES)
    assert type(caught.value).__name__ == name


def test_calls_fan_out(serve):
    """All are under way before the first is waited for: the called model has two instances, and they meet."""
    target = serve(
        """
        import threading
        barrier = threading.Barrier(2)
        @hookimpl
        def execute(requests):
            barrier.wait(10)
            return [Response({"OUT": r["IN"].numpy() * 2}) for r in requests]
        """,
        extra="instance_group { kind: KIND_CPU count: 2 }",
    )
    caller = serve(
        """
        import asyncio
        @hookimpl
        def execute(instance, requests):
            server, name = instance.model.server, instance.model.parameters["target"]
            calls = [server.start(name, {"IN": np.full(4, n, np.float32)}) for n in (1, 2)]
            one = sum(call.result()["OUT"].numpy()[0] for call in calls)
            assert all(call.done() for call in calls)
            async def gather():
                return await asyncio.gather(*(server.infer_async(name, {"IN": np.full(4, n, np.float32)}) for n in (1, 2)))
            two = sum(answer["OUT"].numpy()[0] for answer in asyncio.run(gather()))
            return [Response({"OUT": np.array([one, two], np.float32)}) for _ in requests]
        """,
        beside=target,
        parameters={"target": target.name},
    )
    assert caller.infer(ONES)["OUT"].tolist() == [6, 6]


def test_a_result_outlives_the_model_that_made_it(serve):
    target = serve(DOUBLE)
    caller = serve(
        """
        kept = []
        @hookimpl
        def execute(instance, requests):
            kept.append(instance.model.server.infer(instance.model.parameters["target"], requests[0])["OUT"])
            return [Response({"OUT": kept[0]})]
        """,
        beside=target,
        parameters={"target": target.name},
    )
    caller.infer(ONES)
    caller.core.unload(target.name)  # waits until it is finalized: nothing of the call holds it
    assert caller.module.kept[0].numpy().tolist() == [2] * 4
    with pytest.raises(TritonError, match=r"not ready|unknown"):
        caller.infer(ONES)


SLOW = """
import threading
entered, go = threading.Event(), threading.Event()
@hookimpl
def execute(requests):
    entered.set()
    go.wait(10)
    return [Response({"OUT": r["IN"].numpy() * 2}) for r in requests]
"""


def test_a_call_that_takes_longer_than_its_timeout_is_given_up(pair):
    caller, target = pair("server.infer(target, request, timeout=0.05)", SLOW)
    with pytest.raises(UnavailableError, match="did not answer within the call's timeout"):
        caller.infer(ONES)
    target.module.go.set()


def test_an_awaited_call_has_a_timeout_too(pair):
    caller, target = pair(
        "__import__('asyncio').run(server.infer_async(target, request, timeout=0.05))", SLOW
    )
    with pytest.raises(UnavailableError, match="did not answer within the call's timeout"):
        caller.infer(ONES)
    target.module.go.set()


def test_result_may_be_asked_for_again_and_waited_for_in_parts(serve):
    target = serve(SLOW)
    caller = serve(
        """
        @hookimpl
        def execute(instance, requests):
            call = instance.model.server.start(instance.model.parameters["target"], requests[0])
            try:
                call.result(timeout=0.02)
            except TimeoutError as error:
                assert "still under way" in str(error) and not call.done()
            else:
                raise AssertionError
            import sys
            sys.modules[instance.model.parameters["target"] + ".plugin"].go.set()
            assert call.result()["OUT"].numpy().ctypes.data == call.result()["OUT"].numpy().ctypes.data
            return [Response({"OUT": call.result()["OUT"]})]
        """,
        beside=target,
        parameters={"target": target.name},
    )
    assert caller.infer(ONES)["OUT"].tolist() == [2] * 4


def test_a_cancelled_call_is_not_waited_for(serve):
    target = serve(SLOW)
    caller = serve(
        """
        import threading
        @hookimpl
        def execute(instance, requests):
            call = instance.model.server.start(instance.model.parameters["target"], requests[0])
            threading.Timer(0.05, call.cancel).start()
            call.result()
        """,
        beside=target,
        parameters={"target": target.name},
    )
    with pytest.raises(CancelledError, match="was cancelled"):
        caller.infer(ONES)
    target.module.go.set()


def test_cancelling_the_task_cancels_the_call(serve):
    target = serve(SLOW)
    caller = serve(
        """
        import asyncio
        calls = []
        @hookimpl
        def execute(instance, requests):
            server, name = instance.model.server, instance.model.parameters["target"]
            async def main():
                call = server.start(name, requests[0])
                calls.append(call)
                async def wait():
                    return await call
                task = asyncio.create_task(wait())
                await asyncio.sleep(0.05)
                task.cancel()
                try:
                    await task
                except asyncio.CancelledError:
                    return call.done()
            assert asyncio.run(main()) is True
            return [Response({"OUT": requests[0]["IN"]})]
        """,
        beside=target,
        parameters={"target": target.name},
    )
    assert caller.infer(ONES)["OUT"].tolist() == [1] * 4
    caller.module.calls.clear()
    target.module.go.set()


def test_dropped_calls_leave_nothing_behind(serve):
    target = serve(SLOW)
    caller = serve(
        """
        import weakref
        arrays = []
        @hookimpl
        def execute(instance, requests):
            server, name = instance.model.server, instance.model.parameters["target"]
            array = np.ones(4, np.float32)
            arrays.append(weakref.ref(array))
            server.start(name, {"IN": array})
            server.start(name, {"IN": array})
            return [Response({"OUT": array})]
        """,
        beside=target,
        parameters={"target": target.name},
    )
    caller.infer(ONES)
    assert caller.module.arrays[0]() is not None  # Triton still reads it
    target.module.go.set()
    deadline = time.monotonic() + 5
    while caller.module.arrays[0]() is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert caller.module.arrays[0]() is None


def test_waiting_does_not_hold_the_gil_and_waits_for_no_thread(pair):
    caller, target = pair("server.infer(target, request)", SLOW)
    threads = threading.active_count()
    future = caller.send(ONES)
    assert target.module.entered.wait(5)  # Python runs, here and there, while the caller waits
    assert threading.active_count() <= threads + 2  # the two models' own
    target.module.go.set()
    assert future.result(5)["OUT"].tolist() == [2] * 4


def test_a_blocking_call_in_an_event_loop_is_refused(serve):
    target = serve(DOUBLE)
    caller = serve(
        """
        import asyncio
        @hookimpl
        def execute(instance, requests):
            async def main():
                instance.model.server.infer(instance.model.parameters["target"], requests[0])
            asyncio.run(main())
        """,
        beside=target,
        parameters={"target": target.name},
    )
    with pytest.raises(InternalError, match="would block the event loop: await infer_async"):
        caller.infer(ONES)
    assert "cancelling" not in caller.log  # it was never sent


def test_an_option_that_does_not_exist_is_named(serve):
    target = serve(DOUBLE)
    caller = serve(
        """
        @hookimpl
        def execute(instance, requests):
            instance.model.server.infer(instance.model.parameters["target"], requests[0], prio=3)
        """,
        beside=target,
        parameters={"target": target.name},
    )
    with pytest.raises(InternalError, match="a call has no option 'prio'; there are version, outputs"):
        caller.infer(ONES)


def test_a_thousand_calls_leave_nothing_behind(serve):
    target = serve(
        "@hookimpl\ndef execute(requests):\n return [Response({'OUT': r['IN']}) for r in requests]"
    )
    caller = serve(
        """
        import asyncio
        @hookimpl
        def execute(instance, requests):
            server, name = instance.model.server, instance.model.parameters["target"]
            for n in range(250):
                server.infer(name, requests[0])
                server.start(name, {"IN": np.ones(3, np.float32)})
                list(server.stream(name, requests[0]))
            async def main():
                for n in range(250):
                    await server.infer_async(name, requests[0])
            asyncio.run(main())
            return [Response({"OUT": requests[0]["IN"]})]
        """,
        beside=target,
        parameters={"target": target.name},
    )
    caller.infer(ONES)
    gc.collect()
    objects = len(gc.get_objects())
    caller.infer(ONES)
    gc.collect()
    assert len(gc.get_objects()) < objects + 200


def test_calls_while_a_model_is_loaded(serve):
    target = serve(DOUBLE)
    caller = serve(
        """
        @hookimpl
        def model_initialize(model):
            name = model.parameters["target"]
            model.state.two = model.server.infer(name, {"IN": np.ones(1, np.float32)})["OUT"].numpy()[0]
            try:
                model.server.infer(model.name, {"IN": np.ones(1, np.float32)})
            except TritonError as error:
                model.state.error = str(error)
        @hookimpl
        def execute(instance, requests):
            assert "no available versions" in instance.model.state.error, instance.model.state.error
            return [Response({"OUT": r["IN"].numpy() * instance.model.state.two}) for r in requests]
        """,
        beside=target,
        parameters={"target": target.name},
    )
    assert caller.infer(ONES)["OUT"].tolist() == [2] * 4


def test_a_server_ends_with_its_model(serve):
    caller = serve(
        """
        kept = []
        @hookimpl
        def execute(instance, requests):
            kept.append(instance.model.server)
            return [Response({"OUT": r["IN"]}) for r in requests]
        """
    )
    caller.infer(ONES)
    [server] = caller.module.kept
    assert server.is_live()
    caller.core.unload(caller.name)
    for use in (server.is_live, lambda: server.infer("x", {}), server.index, lambda: server.load("x")):
        with pytest.raises(UnavailableError, match="unloaded"):
            use()


def test_a_model_unloaded_during_a_call_answers_it_first(pair):
    caller, target = pair("server.infer(target, request)", SLOW)
    future = caller.send(ONES)
    assert target.module.entered.wait(5)
    caller.core.unload(target.name, wait=False)
    target.module.go.set()
    assert future.result(5)["OUT"].tolist() == [2] * 4
    with pytest.raises(TritonError, match=target.name):
        caller.infer(ONES)


def test_calls_from_many_threads_at_once(serve):
    """Threads of the author's own, event loops in them, all at once and from one request."""
    target = serve(DOUBLE, extra="instance_group { kind: KIND_CPU count: 2 }")
    caller = serve(
        """
        import asyncio
        from concurrent.futures import ThreadPoolExecutor
        @hookimpl
        def execute(instance, requests):
            server, target = instance.model.server, instance.model.parameters["target"]
            def work(n):
                given = {"IN": np.full(8, n, np.float32)}
                async def main():
                    return [a["OUT"].numpy()[0] for a in await asyncio.gather(*(server.infer_async(target, given) for _ in range(20)))]
                found = asyncio.run(main()) + [server.infer(target, given)["OUT"].numpy()[0] for _ in range(20)]
                return set(found) == {2 * n}
            with ThreadPoolExecutor(8) as pool:
                right = list(pool.map(work, range(16)))
            return [Response({"OUT": np.float32([all(right)])}) for _ in requests]
        """,
        beside=target,
        parameters={"target": target.name},
    )
    assert caller.infer(ONES)["OUT"].tolist() == [1]


def test_a_call_may_be_awaited_by_one_task_only(serve):
    target = serve(SLOW)
    caller = serve(
        """
        import asyncio
        @hookimpl
        def execute(instance, requests):
            async def main():
                call = instance.model.server.start(instance.model.parameters["target"], requests[0])
                async def wait():
                    return await call
                first = asyncio.create_task(wait())
                await asyncio.sleep(0.02)
                try:
                    await call
                finally:
                    first.cancel()
            asyncio.run(main())
        """,
        beside=target,
        parameters={"target": target.name},
    )
    with pytest.raises(InternalError, match="awaited already, by another task"):
        caller.infer(ONES)
    target.module.go.set()
    gc.collect()


def test_cpu_memory_that_is_asked_for_elsewhere_is_still_an_answer(pair):
    caller, _ = pair("server.infer(target, request, memory=(MemoryType.GPU, 99))")
    assert caller.infer(ONES)["OUT"].tolist() == [2] * 4
    caller, _ = pair("server.infer(target, request, memory=MemoryType.CPU_PINNED)")
    assert caller.infer(ONES)["OUT"].tolist() == [2] * 4
