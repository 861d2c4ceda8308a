"""The is_ready hook, asked as a newer core asks: by the function that libtriton_NAME.so exports.

The core of the server installed here (24.10) does not know TRITONBACKEND_ModelInstanceReady, so the tests call it
themselves, with the instance's real handle, on a thread that never has Python's lock: as a health check would.
"""

from __future__ import annotations

import ctypes
import sys
import time

import numpy as np
import pytest

from triton_backend_sdk import InvalidArgError, TritonError

PYTHON = ctypes.PyDLL(None)  # its functions are called with Python's lock held
ECHO = """
@hookimpl
def execute(requests):
    return [Response({"OUT": request["IN"]}) for request in requests]

handles = []
@hookimpl
def initialize(instance):
    handles.append(instance)
"""


def ask(served, hold_gil_seconds=0.0):
    """Give why the instance is not ready, or None; Python's lock is held all the while."""
    instance = served.module.handles[0]
    api = instance._api
    library = ctypes.PyDLL(str(served.backends / served.name / f"libtriton_{served.name}.so"))
    entry = ctypes.cast(library.TRITONBACKEND_ModelInstanceReady, ctypes.c_void_p)
    thread, error = ctypes.c_ulong(), ctypes.c_void_p()
    handle = ctypes.c_void_p(api.address(instance._handle))
    deadline = (ctypes.c_long * 2)(int(time.time()) + 20, 0)
    before = sys.getswitchinterval()
    sys.setswitchinterval(100)  # nor is the lock given up between two calls
    try:
        PYTHON.usleep(int(hold_gil_seconds * 1e6))
        assert PYTHON.pthread_create(ctypes.byref(thread), None, entry, handle) == 0
        joined = PYTHON.pthread_timedjoin_np(thread, ctypes.byref(error), deadline)
    finally:
        sys.setswitchinterval(before)
    assert joined == 0, "it waits for the GIL"
    if not error.value:
        return None
    with pytest.raises(TritonError) as raised:
        api.check(api.ffi.cast("TRITONSERVER_Error *", error.value))
    return str(raised.value)


def until(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def test_without_the_hook_an_instance_is_ready(serve):
    served = serve(ECHO)
    assert ask(served) is None
    assert served.core.is_ready(served.name)


def test_the_answer_is_there_when_the_model_is(serve):
    served = serve(ECHO + "@hookimpl\ndef is_ready(instance): return instance.name.endswith('_0')")
    assert ask(served) is None


@pytest.mark.parametrize(
    ("hook", "said"),
    [
        ("return False", "is_ready returned False"),
        ("raise UnavailableError('the database is gone')", "is_ready raised: the database is gone"),
        ("return 1 / 0", "is_ready raised: ZeroDivisionError: division by zero"),
        ("raise SystemExit('no')", "is_ready raised: SystemExit: no"),
    ],
)
def test_not_ready_says_why(serve, hook, said):
    served = serve(ECHO + f"@hookimpl\ndef is_ready(): {hook}")
    assert said in ask(served)
    assert f"not ready: {said}" in served.log


def test_it_may_be_a_coroutine_and_may_return_nothing(serve):
    served = serve(
        ECHO
        + """
import asyncio
asked = []
@hookimpl
async def is_ready():
    await asyncio.sleep(0)
    asked.append(1)
""",
        parameters={"ready_interval_seconds": "0.01"},
    )
    assert until(lambda: len(served.module.asked) > 3)
    assert ask(served) is None


def test_it_changes_its_mind_and_the_log_tells_so(serve):
    served = serve(
        ECHO + "well = [True]\n@hookimpl\ndef is_ready(): return well[0]",
        parameters={"ready_interval_seconds": "0.01"},
    )
    assert ask(served) is None
    served.module.well[0] = False
    assert until(lambda: ask(served) == "is_ready returned False")
    served.module.well[0] = True
    assert until(lambda: ask(served) is None)
    assert until(lambda: "ready again" in served.log)
    assert served.log.count("not ready") == 1


def test_a_held_lock_of_pythons_hangs_no_health_check(serve):
    served = serve(
        ECHO + "@hookimpl\ndef is_ready(): return True",
        parameters={"ready_interval_seconds": "0.05", "ready_limit_seconds": "0.3"},
    )
    assert ask(served) is None
    assert "is_ready has not answered for" in ask(served, hold_gil_seconds=0.6)
    assert until(lambda: ask(served) is None)


def test_a_hook_that_hangs_is_not_ready_and_keeps_no_model(serve):
    served = serve(
        ECHO
        + """
import threading
go, ended = threading.Event(), []
@hookimpl
def is_ready():
    go.wait(60)
@hookimpl
def finalize():
    ended.append(1)
""",
        parameters={"ready_interval_seconds": "0.05", "ready_limit_seconds": "0.2"},
    )
    module = served.module
    assert "it hangs" in ask(served)
    x = np.ones(1, np.float32)
    assert served.infer({"IN": x})["OUT"] == x  # it only says so
    served.core.unload(served.name)
    assert module.ended
    assert "is_ready hangs: its thread is left behind" in served.log
    module.go.set()


@pytest.mark.parametrize("parameter", ["ready_interval_seconds", "ready_limit_seconds"])
@pytest.mark.parametrize("value", ["0", "-1", "nan", "often"])
def test_parameters_that_mean_nothing_fail_the_load(serve, parameter, value):
    served = serve(ECHO + "@hookimpl\ndef is_ready(): return True", parameters={parameter: value}, load=False)
    with pytest.raises(InvalidArgError, match=f"'{parameter}'"):
        served.core.load(served.name)


def test_the_model_unloads_and_loads_again(serve):
    served = serve(
        ECHO + "@hookimpl\ndef is_ready(): return True", parameters={"ready_interval_seconds": "0.01"}
    )
    for _ in range(3):
        served.core.unload(served.name)
        served.core.load(served.name)
    assert len(served.module.handles) >= 1


def test_a_hook_with_nothing_to_say_is_asked_once_and_the_instance_is_ready_for_good(serve):
    served = serve(
        ECHO
        + "asked = []\n@hookimpl\ndef is_ready(instance):\n    asked.append(instance)\n    return NotImplemented\n",
        parameters={"ready_interval_seconds": "0.01", "ready_limit_seconds": "0.05"},
    )
    assert ask(served, hold_gil_seconds=0.2) is None
    assert len(served.module.asked) == 1
    assert "ready" not in served.log.split(served.name, 1)[1].replace("READY", "")
