"""Metrics, readiness, the watchdog, an instance's thread and batch hooks, used as nobody should."""

import gc
import threading
import time

import numpy as np
import pytest

from triton_backend_sdk.caretaker import Caretaker
from triton_backend_sdk.errors import TritonError

ONES = {"IN": np.ones(4, np.float32)}
ECHO = """
@hookimpl
def execute(requests):
    return [Response({"OUT": r["IN"]}) for r in requests]
"""


def test_whatever_a_delayed_call_raises_the_caretaker_goes_on():
    caretaker, reached = Caretaker(), threading.Event()

    def leave():
        raise SystemExit

    caretaker.call_later(0, leave)
    caretaker.call_later(0.01, reached.set)
    assert reached.wait(5)


def test_metrics_from_many_threads_while_the_model_goes(serve):
    served = serve(
        ECHO
        + """
import threading
stop, errors, models = threading.Event(), [], []
class Late:
    def __init__(self, model):
        self.model, self.counter = model, model.metrics.counter("hostile_late", "Late")
    def __del__(self):
        for use in (self.counter.increment, lambda: self.model.metrics.counter("hostile_late", "Late")):
            try:
                use()
            except Exception as error:
                errors.append(error)
def feed(model, number):
    n = 0
    while not stop.is_set():
        n += 1
        try:
            model.metrics.counter("hostile_total", "x", labels={"n": str(n % 50)}).increment()
            model.metrics.gauge("hostile_gauge", "x", labels={"t": number}).set(n)
            model.metrics.histogram("hostile_seconds", "x", buckets=[1, 2]).observe(n % 3)
        except Exception as error:
            errors.append(error)
            if len(errors) > 50:
                return
@hookimpl
def model_initialize(model):
    model.state.late = Late(model)
    model.state.threads = [threading.Thread(target=feed, args=(model, n)) for n in range(4)]
    for thread in model.state.threads:
        thread.start()
        models.append(thread)
""",
        core_options={"metrics": True},
    )
    for _ in range(5):
        served.infer(ONES)
        assert "hostile_total" in served.core.metrics_text()
        served.core.unload(served.name)
        served.core.load(served.name)
    module = served.module
    module.stop.set()
    for thread in module.models:
        thread.join(10)
        assert not thread.is_alive()
    module.models.clear()
    served.core.unload(served.name)
    gc.collect()
    assert all(isinstance(error, TritonError) for error in module.errors), module.errors
    assert "hostile_" not in served.core.metrics_text()


def test_an_is_ready_that_hangs_does_not_keep_the_model(serve):
    served = serve(
        ECHO
        + """
import threading
go, entered, answers = threading.Event(), threading.Event(), []
@hookimpl
def is_ready(instance):
    answers.append(1)
    if len(answers) > 1:
        entered.set()
        go.wait(30)
    return True
""",
        parameters={"ready_interval_seconds": "0.05", "ready_limit_seconds": "0.2"},
    )
    assert served.module.entered.wait(5)
    served.core.unload(served.name)
    assert "its thread is left behind" in served.log
    served.module.go.set()
    time.sleep(0.1)


def test_an_execute_that_ends_at_the_watchdogs_limit(serve):
    served = serve(
        """
        import time
        @hookimpl
        def execute(requests):
            time.sleep(0.05)
            return [Response({"OUT": r["IN"]}) for r in requests]
        """,
        parameters={"execute_watchdog_seconds": "0.05"},
        extra="instance_group { kind: KIND_CPU count: 2 }",
    )
    for future in [served.send(ONES) for _ in range(30)]:
        future.result(10)
    served.core.unload(served.name)


@pytest.mark.parametrize("raises", ["SystemExit", "KeyboardInterrupt", "GeneratorExit", "StopIteration"])
def test_hooks_on_the_instances_thread_raise_what_they_like(serve, raises):
    served = serve(
        f"""
        import threading
        threads = []
        @hookimpl
        def execute(requests):
            threads.append(threading.current_thread().name)
            raise {raises}("over")
        @hookimpl
        def finalize(instance):
            threads.append(threading.current_thread().name)
            raise {raises}("over")
        """,
        parameters={"instance_thread": "own"},
    )
    for _ in range(3):
        with pytest.raises(TritonError, match=raises):
            served.infer(ONES)
    served.core.unload(served.name)
    assert len(served.module.threads) == 4
    assert len(set(served.module.threads)) == 1


def test_batch_hooks_that_raise_while_the_model_is_reloaded(serve):
    served = serve(
        ECHO
        + """
import random
@hookimpl
def batch_initialize(model):
    if random.random() < 0.1: raise SystemExit("x")
    return object()
@hookimpl
def batch_include(batch, request):
    if random.random() < 0.1: raise KeyboardInterrupt("x")
    if random.random() < 0.1: return "maybe"
    return random.random() < 0.8
@hookimpl
def batch_finalize(batch):
    if random.random() < 0.1: raise GeneratorExit("x")
""",
        settings="batcher = true\n",
        batch=16,
        extra="dynamic_batching { max_queue_delay_microseconds: 500 }",
    )
    for _ in range(5):
        futures = [served.send({"IN": np.ones((1, 4), np.float32)}) for _ in range(100)]
        assert all(future.result(20)["OUT"].shape == (1, 4) for future in futures)
        served.core.load(served.name)


def test_a_lock_that_a_finalizer_would_wait_for(serve):
    """Python may run a ``__del__`` while this very thread makes a metric."""
    served = serve(
        ECHO
        + """
import gc
class Label:
    def __init__(self, model): self.model, self.me = model, self
    def __del__(self):
        try:
            self.model.metrics.counter("hostile_deep", "x").increment()
        except InternalError as error:
            said.append(str(error))
said = []
@hookimpl
def model_initialize(model):
    try:
        for n in range(150):
            gc.collect()
            Label(model)
            gc.set_threshold(n + 1)  # from here on so many objects: at some n that is under the lock
            model.metrics.counter("hostile_other", "x", labels={"n": str(n)}).increment()
    finally:
        gc.set_threshold(700, 10, 10)
    assert said and "at this very moment" in said[0], said
""",
        core_options={"metrics": True},
    )
    served.infer(ONES)
    served.core.unload(served.name)
    assert "hostile_" not in served.core.metrics_text()
