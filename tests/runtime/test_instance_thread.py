"""All hooks of an instance on one thread of its own, and the warmup hook."""

from __future__ import annotations

import sys
import threading

import numpy as np
import pytest

from triton_backend_sdk import InvalidArgError, TritonError
from triton_backend_sdk.instance_thread import InstanceThread

X = np.float32([1, 2])
OWN = {"instance_thread": "own"}
NOTE_THREADS = """
import threading
threads = {}
def note(hook):
    threads.setdefault(hook, []).append(threading.current_thread())

class Plugin:
    def __init__(self):
        note("__init__")
    @hookimpl
    def initialize(self, instance):
        note("initialize")
    @hookimpl
    def warmup(self):
        note("warmup")
    @hookimpl
    def execute(self, requests):
        note("execute")
        return [Response({"OUT": request["IN"]}) for request in requests]
    @hookimpl
    def finalize(self):
        note("finalize")
"""


def test_every_hook_runs_on_the_instances_thread(serve):
    served = serve(NOTE_THREADS, parameters=OWN)
    for _ in range(3):
        served.infer({"IN": X})
    module = served.module
    served.core.unload(served.name)
    assert list(module.threads) == ["__init__", "initialize", "warmup", "execute", "finalize"]
    [thread] = {thread for hook in module.threads.values() for thread in hook}
    assert thread.name.startswith(served.name)
    assert not thread.is_alive()


def test_each_instance_has_its_own(serve):
    served = serve(NOTE_THREADS, parameters=OWN, extra="instance_group { kind: KIND_CPU count: 3 }")
    assert len(set(served.module.threads["initialize"])) == 3


def test_by_default_triton_chooses_the_threads(serve):
    served = serve(NOTE_THREADS)
    served.infer({"IN": X})
    [made], [executed] = served.module.threads["initialize"], served.module.threads["execute"]
    assert made is not executed


def test_what_belongs_to_a_thread_holds(serve):
    served = serve(
        """
        import asyncio, sqlite3
        @hookimpl
        def initialize(instance):
            instance.state.database = sqlite3.connect(":memory:")
            instance.state.loop = asyncio.new_event_loop()
        async def double(instance, x):
            [[two]] = instance.state.database.execute("select 2")
            return x * two
        @hookimpl
        def execute(instance, requests):
            run = instance.state.loop.run_until_complete
            return [Response({"OUT": run(double(instance, request["IN"].numpy()))}) for request in requests]
        @hookimpl
        def finalize(instance):
            instance.state.database.close()
            instance.state.loop.close()
        """,
        parameters=OWN,
    )
    assert served.infer({"IN": X})["OUT"].tolist() == [2, 4]
    served.core.unload(served.name)
    assert "finaliz" not in served.log.replace("successfully unloaded", "")


@pytest.mark.parametrize("hook", ["initialize", "warmup"])
def test_a_hook_that_fails_leaves_no_thread(serve, hook):
    served = serve(
        f"""
        @hookimpl
        def {hook}(instance):
            raise ValueError("no such file")
        @hookimpl
        def execute(requests): ...
        """,
        parameters=OWN,
        load=False,
    )
    with pytest.raises(TritonError, match="no such file"):
        served.core.load(served.name)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(served.name)]


def test_an_exception_keeps_its_code_and_its_traceback(serve):
    served = serve(
        """
        @hookimpl
        def execute(requests):
            return helper(requests[0]["IN"].numpy())
        def helper(x):
            raise InvalidArgError("too small")
        """,
        parameters=OWN,
    )
    for _ in range(2):
        with pytest.raises(InvalidArgError, match="too small"):
            served.infer({"IN": X})
    assert "in helper" in served.log
    assert "instance_thread.py" not in served.log


def test_nothing_of_a_batch_is_held_between_two(serve):
    """What the thread kept would keep the request: the fixture and the core see it."""
    served = serve(NOTE_THREADS, parameters=OWN)
    served.infer({"IN": X})
    assert served.core.wait_released(5)
    with pytest.raises(TritonError):
        served.infer({"IN": X, "NO": X})
    assert served.core.wait_released(5)


def test_a_hook_that_hangs_does_not_hang_another_instance(serve):
    served = serve(
        """
        import threading
        go = threading.Event()
        @hookimpl
        def execute(requests):
            if requests[0].id == "hang":
                go.wait(30)
            return [Response({"OUT": request["IN"]}) for request in requests]
        """,
        parameters=OWN,
        extra="instance_group { kind: KIND_CPU count: 2 }",
    )
    hanging = served.send({"IN": X}, request_id="hang")
    for _ in range(5):
        served.infer({"IN": X})
    assert not hanging.done()
    served.module.go.set()
    hanging.result(10)


def test_debuggers_follow(serve):
    seen = []

    def trace(frame, event, argument):
        if frame.f_code.co_name == "execute" and "plugin.py" in frame.f_code.co_filename:
            seen.append(threading.current_thread().name)

    served = serve(NOTE_THREADS, parameters=OWN)
    threading.settrace(trace)
    try:
        served.infer({"IN": X})
    finally:
        threading.settrace(None)
    assert seen == [f"{served.name}_0_0"] or seen[0].startswith(served.name)


def test_slow_log_and_wrappers_see_the_batch(serve):
    served = serve(
        """
        import time
        @hookimpl
        def execute(requests):
            time.sleep(0.02)
            return [Response({"OUT": request["IN"]}) for request in requests]
        """,
        parameters={**OWN, "slow_execute_ms": "1"},
    )
    served.infer({"IN": X}, request_id="seven")
    assert "['seven'] took" in served.log


DECOUPLED = "model_transaction_policy { decoupled: true }"


def test_a_stream_runs_on_the_instances_thread_and_batches_come_between(serve):
    served = serve(
        """
        import sqlite3, threading
        closed = []
        @hookimpl
        def initialize(instance):
            instance.state.database = sqlite3.connect(":memory:")
        @hookimpl
        def execute(instance, request):
            try:
                for i in range(3):
                    [[n]] = instance.state.database.execute("select ?", [i])
                    yield Response({"OUT": np.full(1, n, np.float32)})
                if request.id == "fail":
                    raise InvalidArgError("no more")
            finally:
                closed.append(threading.current_thread())
        @hookimpl
        def finalize(instance):
            instance.state.database.close()
        """,
        parameters=OWN,
        extra=DECOUPLED,
    )
    streams = [served.core.stream(served.name, {"IN": X}, timeout=10) for _ in range(4)]
    for stream in streams:
        assert [response["OUT"][0] for response in stream] == [0, 1, 2]
    with pytest.raises(InvalidArgError, match="no more"):
        list(served.core.stream(served.name, {"IN": X}, request_id="fail", timeout=10))
    assert [thread.name for thread in served.module.closed] == [f"{served.name}_0_0"] * 5


@pytest.mark.parametrize("kind", ["async def execute(requests): ...", "async def execute(request): ..."])
def test_an_async_execute_has_a_thread_already(serve, kind):
    served = serve(f"@hookimpl\n{kind}", parameters=OWN, load=False)
    with pytest.raises(InvalidArgError, match="runs on the model's event loop"):
        served.core.load(served.name)


def test_a_misspelt_parameter_fails_the_load(serve):
    served = serve(NOTE_THREADS, parameters={"instance_thread": "mine"}, load=False)
    with pytest.raises(InvalidArgError, match="it must be 'own' or 'triton'"):
        served.core.load(served.name)


@pytest.mark.parametrize("way", ["python", "c"])
def test_calls_come_back_and_do_not_mix(serve, way):
    serve(NOTE_THREADS)  # which brings the C side
    thread = InstanceThread("one", sys.modules["triton_backend_sdk._hot"] if way == "c" else None)
    got = {}

    def caller(number):
        got[number] = [thread.call(lambda i=i: (number, i)) for i in range(200)]

    callers = [threading.Thread(target=caller, args=(number,)) for number in range(4)]
    for one in callers:
        one.start()
    for one in callers:
        one.join()
    assert all(got[number] == [(number, i) for i in range(200)] for number in range(4))
    assert thread.call(thread.call, max, 1, 2) == 2  # from the thread itself
    with pytest.raises(SystemExit):
        thread.call(sys.exit)
    thread.stop()
    with pytest.raises(TritonError, match="has ended"):
        thread.call(max, 1, 2)


def test_the_fake_host_does_likewise(fake_host, tmp_path, monkeypatch):
    (tmp_path / "own_thread_plugin.py").write_text(
        "from triton_backend_sdk import *\n" + NOTE_THREADS, encoding="utf-8"
    )
    monkeypatch.syspath_prepend(tmp_path)
    config = """
    input { name: "IN" data_type: TYPE_FP32 dims: -1 }
    output { name: "OUT" data_type: TYPE_FP32 dims: -1 }
    parameters { key: "instance_thread" value { string_value: "own" } }
    """
    host = fake_host("own_thread_plugin", config)
    host.execute({"IN": X})
    host.close()
    threads = sys.modules["own_thread_plugin"].threads
    assert list(threads) == ["__init__", "initialize", "warmup", "execute", "finalize"]
    assert len({thread for hook in threads.values() for thread in hook}) == 1


# --- warmup ----------------------------------------------------------------------------------------------------------


def test_warmup_follows_initialize_before_the_model_is_ready(serve):
    served = serve(
        """
        import time
        order = []
        @hookimpl
        def initialize(): order.append("initialize")
        @hookimpl
        def warmup(instance):
            time.sleep(0.2)
            order.append("warmup")
        @hookimpl
        def execute(requests):
            order.append("execute")
            return [Response({"OUT": request["IN"]}) for request in requests]
        """
    )
    served.infer({"IN": X})
    assert served.module.order == ["initialize", "warmup", "execute"]


def test_a_warmup_that_raises_is_finalized(serve):
    served = serve(
        """
        order = []
        @hookimpl
        def initialize(): order.append("initialize")
        @hookimpl
        def warmup(instance): raise NotFoundError("no kernel for this CPU")
        @hookimpl
        def finalize(): order.append("finalize")
        @hookimpl
        def execute(requests): ...
        """,
        load=False,
    )
    with pytest.raises(TritonError, match="no kernel for this CPU"):
        served.core.load(served.name)
    [state] = served.core.index()
    assert state["state"] == "UNAVAILABLE"
    assert served.module.order == ["initialize", "finalize"]


WARM_CONFIG = """
model_warmup {
  name: "zeros"
  batch_size: 2
  inputs { key: "IN" value { data_type: TYPE_FP32 dims: 4 zero_data: true } }
}
model_warmup {
  name: "random"
  batch_size: 1
  count: 3
  inputs { key: "IN" value { data_type: TYPE_FP32 dims: 4 random_data: true } }
}
"""


@pytest.mark.parametrize("parameters", [{}, OWN], ids=["triton", "own"])
def test_the_configs_own_warmup_runs_execute(serve, parameters):
    served = serve(
        """
        seen = []
        @hookimpl
        def execute(requests):
            seen.append([request["IN"].shape for request in requests])
            return [Response({"OUT": request["IN"]}) for request in requests]
        """,
        batch=4,
        extra=WARM_CONFIG,
        parameters=parameters,
    )
    assert served.module.seen == [[(1, 4), (1, 4)], [(1, 4)], [(1, 4)], [(1, 4)]]
    assert (
        served.core.statistics(served.name)["inference_count"] == 5
    )  # Triton counts them, for every backend
