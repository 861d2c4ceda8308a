"""Calls used as nobody should: what leaks, crashes or hangs then, in one core."""

import gc
import os
import time

import pytest

from triton_backend_sdk.errors import InternalError, TritonError

from .test_calls import ONES, SLOW


def open_files():
    return len(os.listdir("/proc/self/fd"))


def test_inputs_of_a_call_that_fails_are_let_go(acting):
    caller, _ = acting("""
    def act(server, target, request):
        for wrong in (object(), {}, np.datetime64("now")):
            array = np.ones(4, np.float32)
            kept.append(weakref.ref(array))
            try:
                server.infer(target, {"IN": array, "WRONG": wrong})
            except InternalError as error:
                assert "WRONG" in str(error)
        return [1]
    """)
    caller.infer(ONES)
    gc.collect()
    assert [ref() for ref in caller.module.kept] == [None] * 3
    assert "cancelling" not in caller.log  # a call that was never sent


def test_a_dict_of_inputs_that_grows_while_it_is_read_is_an_error(acting):
    caller, _ = acting("""
    class Growing:
        def __init__(self, inputs): self.inputs = inputs
        def __dlpack__(self, **options):
            for n in range(5):
                self.inputs[f"MORE{n}"] = np.ones(4, np.float32)
            return np.ones(4, np.float32).__dlpack__()
        def __dlpack_device__(self): return (1, 0)
    def act(server, target, request):
        inputs = {n: n for n in range(100)}
        for n in range(100):
            del inputs[n]  # the table stays large: nothing is moved when the dict grows
        inputs["IN"] = Growing(inputs)
        server.infer(target, inputs)
    """)
    with pytest.raises(TritonError, match="grew while it was read"):
        caller.infer(ONES)


def test_event_loops_that_end_with_news_unread_leave_nothing_behind(acting):
    caller, target = acting(
        """
        async def wait(call):
            await call
        def act(server, target, request):
            for _ in range(20):
                loop = asyncio.new_event_loop()
                task = loop.create_task(wait(server.start(target, request)))
                loop.run_until_complete(asyncio.sleep(0))
                kept.append(task)  # for ever pending
                loop.close()
            return [1]
        """,
        SLOW,
    )
    before = open_files()
    caller.infer(ONES)
    target.module.go.set()
    caller.core.infer(target.name, ONES)
    caller.module.kept.clear()
    gc.collect()
    assert open_files() <= before + 2


def test_a_call_wakes_the_loop_that_awaits_it_now(acting):
    caller, target = acting(
        """
        go = None
        def act(server, target, request):
            first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
            stream = server.stream(target, request)
            async def one():
                return (await anext(stream))["OUT"].numpy()[0]
            task = first.create_task(one())
            first.run_until_complete(asyncio.sleep(0))  # it awaits there
            go.set()
            time.sleep(0.1)  # the first loop has mail that it never reads
            stream._disarm()
            found = [second.run_until_complete(one())]
            found += [second.run_until_complete(asyncio.wait_for(one(), 5))]
            task.cancel()
            first.run_until_complete(asyncio.gather(task, return_exceptions=True))
            first.close(), second.close()
            return found
        """,
        """
        import threading, time
        go = threading.Event()
        @hookimpl
        def execute(request):
            go.wait(5)
            for n in range(3):
                yield Response({"OUT": np.float32([n])})
                time.sleep(0.2)
        """,
        target={"extra": "model_transaction_policy { decoupled: true }"},
    )
    caller.module.go = target.module.go
    assert caller.infer(ONES)["OUT"].tolist() == [0, 1]
    gc.collect()  # from Python 3.12 on a cancelled task's exception lies in a ring with its frames


def test_a_parent_is_watched_by_one_timer_per_loop(acting):
    caller, _ = acting(
        """
        timers = []
        def act(server, target, request):
            async def main():
                loop = asyncio.get_running_loop()
                later = loop.call_later
                def counting(seconds, *arguments):
                    timers.append(seconds)
                    return later(seconds, *arguments)
                loop.call_later = counting
                for _ in range(50):
                    await server.infer_async(target, request, parent=request)
            asyncio.run(main())
            return [1]
        """,
        """
        import time
        @hookimpl
        def execute(requests):
            time.sleep(0.002)
            return [Response({"OUT": r["IN"]}) for r in requests]
        """,
    )
    begin = time.monotonic()
    caller.infer(ONES)
    looks = (time.monotonic() - begin) / 0.01
    assert len(caller.module.timers) <= looks + 2


@pytest.mark.parametrize("timeout", ["1e30", "float('inf')", "float('nan')", "-1", "0"])
def test_a_timeout_that_is_none_is_refused(acting, timeout):
    caller, _ = acting(f"def act(server, target, request): server.infer(target, request, timeout={timeout})")
    with pytest.raises(InternalError, match="timeout is a number of seconds above 0"):
        caller.infer(ONES)


def test_options_that_are_none_are_clear_errors(acting):
    caller, _ = acting("""
    def act(server, target, request):
        wrong = [
            dict(outputs=[1]), dict(outputs="OUT"), dict(outputs=["NO"]), dict(parameters={1: "x"}),
            dict(parameters={"x": None}), dict(parameters={"x": 1 << 70}), dict(parameters=3), dict(request_id=3),
            dict(priority=-1), dict(priority="x"), dict(correlation_id=-1), dict(correlation_id=1.5), dict(version=99),
            dict(version="x"), dict(parent=3), dict(memory=77), dict(flags=1 << 40), dict(request_id="\\ud800"),
            dict(nonsense=1), dict(timeout="x"),
        ]
        for options in wrong:
            try:
                server.infer(target, request, **options)
            except SystemError:
                raise
            except Exception as error:
                kept.append(f"{options}: {type(error).__name__}: {error}")
            else:
                raise AssertionError(options)
        assert server.infer(target, request, parameters={"a": 1, "b": "x", "c": True, "d": 1.5})
        return [1]
    """)
    assert caller.infer(ONES)["OUT"].tolist() == [1]
    assert len(caller.module.kept) == 20
    print(*caller.module.kept, sep="\n")
