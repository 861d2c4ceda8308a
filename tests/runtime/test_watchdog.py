"""A hanging execute shows where it hangs; the thread that looks after it, and what models say of their memory."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from triton_backend_sdk import InternalError, MemoryType
from triton_backend_sdk.caretaker import Caretaker

X = {"IN": np.zeros(1, np.float32)}
SLEEPS = """
import time

def deep_inside(seconds):
    time.sleep(seconds)

@hookimpl
def execute(requests):
    deep_inside(float(requests[0]["IN"].numpy()[0]))
    return [Response({"OUT": request["IN"]}) for request in requests]
"""


def sleep(seconds):
    return {"IN": np.float32([seconds])}


def test_a_long_execute_is_told_once_with_its_stack(serve):
    served = serve(SLEEPS, parameters={"execute_watchdog_seconds": "0.2"})
    served.infer(sleep(0))
    assert "execute_watchdog_seconds" not in served.log
    served.infer(sleep(1), request_id="slow one")
    log = served.log
    assert log.count("(execute_watchdog_seconds is 0.2)") == 1
    assert f"{served.name}_0_0: execute of 1 request(s) ['slow one'] has been running for 0." in log
    first = log.split(", in this execute:")[1].split("thread ")[0]
    assert "in deep_inside" in first
    assert "time.sleep(seconds)" in first

    served.infer(sleep(0.6))
    assert served.log.count("(execute_watchdog_seconds is 0.2)") == 2


WAITS = """
import asyncio
import time

async def remote(seconds):
    await asyncio.sleep(seconds)

@hookimpl
async def execute(request):
    if "block" in request.parameters:
        time.sleep(request.parameters["block"])
    await remote(float(request["IN"].numpy()[0]))
    return Response({"OUT": request["IN"]})
"""


def test_a_coroutine_that_waits_too_long_is_told_with_what_it_waits_for(serve):
    served = serve(WAITS, parameters={"execute_watchdog_seconds": "0.3"})
    calls = [served.send(sleep(1), request_id=name) for name in ("a", "b")] + [served.send(sleep(0))]
    for call in calls:
        call.result(20)
    log = served.log
    assert log.count("(execute_watchdog_seconds is 0.3)") in (
        1,
        2,
    )  # one of them may be late a moment earlier
    assert "'a'" in log
    assert "'b'" in log
    shown = log.split("coroutine execute:")[1].split("thread ")[0]
    assert shown.index("in execute") < shown.index("in remote") < shown.index("in sleep")


def test_a_coroutine_that_blocks_the_event_loop_is_told(serve):
    served = serve(WAITS, parameters={"execute_watchdog_seconds": "0.2"})
    served.infer(sleep(0), parameters={"block": 0.6})
    assert "thread plugin" in served.log
    assert "time.sleep(request.parameters[" in served.log


def test_many_that_are_late_are_told_together(serve):
    served = serve(WAITS, parameters={"execute_watchdog_seconds": "0.5"})
    calls = [served.send(sleep(1.5), request_id=f"r{number}") for number in range(60)]
    for call in calls:
        call.result(20)
    assert served.log.count("(execute_watchdog_seconds is 0.5)") < 20
    assert "more has been running" in served.log


def test_it_is_off_unless_asked_for_and_ends_with_its_model(serve):
    served = serve(SLEEPS)
    served.infer(sleep(0.1))
    assert "watchdog" not in served.log
    watched = serve(SLEEPS, parameters={"execute_watchdog_seconds": "0.1"})
    watched.infer(sleep(0))
    watched.core.unload(watched.name)
    served.infer(sleep(0.3))
    assert "watchdog" not in served.log + watched.log


def test_a_fault_in_execute_passes(serve):
    served = serve(
        "@hookimpl\ndef execute(requests):\n    raise ValueError('mine')\n",
        parameters={"execute_watchdog_seconds": "9"},
    )
    with pytest.raises(ValueError, match="mine"):
        served.infer(X)


@pytest.mark.parametrize("value", ["-1", "soon"])
def test_a_wrong_time_is_refused(serve, value):
    served = serve(SLEEPS, load=False, parameters={"execute_watchdog_seconds": value})
    with pytest.raises(Exception, match="execute_watchdog_seconds"):
        served.core.load(served.name)


def test_calls_come_in_the_order_of_their_time():
    caretaker, made, done = Caretaker(), [], threading.Event()
    caretaker.call_later(0.2, lambda: (made.append("late"), done.set()))
    caretaker.call_later(0.05, lambda: made.append("early"))
    cancelled = caretaker.call_later(0.1, lambda: made.append("never"))
    cancelled.cancel()
    assert done.wait(5)
    assert made == ["early", "late"]


def test_a_call_that_raises_is_logged_and_does_not_end_the_others(caplog):
    caretaker, done = Caretaker(), threading.Event()
    caretaker.call_later(0, lambda: 1 / 0)
    caretaker.call_later(0.05, done.set)
    assert done.wait(5)
    assert "ZeroDivisionError" in caplog.text


def test_cancelled_calls_do_not_pile_up():
    caretaker = Caretaker()
    for _ in range(10_000):
        caretaker.call_later(3600, lambda: None).cancel()
    assert len(caretaker._calls) <= 128


def test_its_thread_is_there_when_needed_only(monkeypatch):
    monkeypatch.setattr("triton_backend_sdk.caretaker._IDLE_SECONDS", 0.05)
    caretaker, done = Caretaker(), threading.Event()
    assert caretaker._thread is None
    for _ in range(2):
        done.clear()
        caretaker.call_later(0, done.set)
        thread = caretaker._thread
        assert thread.daemon
        assert done.wait(5)
        thread.join(5)
        assert caretaker._thread is None


MEMORY = """
kept = []

@hookimpl
def model_initialize(model):
    kept.append(model)
    model.report_memory_usage({MemoryType.CPU: 1000, (MemoryType.GPU, 1): 5})

@hookimpl
def initialize(instance):
    kept.append(instance)
    instance.report_memory_usage({MemoryType.CPU: 1})
    instance.report_memory_usage({MemoryType.CPU: 20, MemoryType.CPU_PINNED: 3})

@hookimpl
def execute(requests):
    return [Response({"OUT": request["IN"]}) for request in requests]
"""


def test_memory_usage_is_in_the_statistics(serve):
    served = serve(MEMORY, extra="instance_group { kind: KIND_CPU count: 2 }")
    usage = served.core.statistics(served.name)["memory_usage"]
    assert sorted(tuple(sorted(entry.items())) for entry in usage) == [
        (("byte_size", 5), ("id", 1), ("type", "GPU")),
        (("byte_size", 6), ("id", 0), ("type", "CPU_PINNED")),
        (("byte_size", 1040), ("id", 0), ("type", "CPU")),
    ]


def test_memory_usage_after_the_unload_is_refused(serve):
    served = serve(MEMORY)
    kept = list(served.module.kept)
    served.core.unload(served.name)
    for one in kept:
        with pytest.raises(InternalError, match="after it was unloaded"):
            one.report_memory_usage({MemoryType.CPU: 1})


@pytest.mark.parametrize(
    "usage", [{MemoryType.CPU: -1}, {MemoryType.CPU: 1.5}, {"CPU": 1}, {(MemoryType.GPU, "0"): 1}]
)
def test_memory_usage_that_makes_no_sense_is_refused(serve, usage):
    served = serve(MEMORY)
    for one in served.module.kept:
        with pytest.raises(InternalError, match="memory usage"):
            one.report_memory_usage(usage)
