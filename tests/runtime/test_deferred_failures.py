"""Streams and senders over a Triton that fails: its functions are swapped in our table (see test_ownership.py)."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import logging
import sys
import threading
import time

import numpy as np
import pytest

from tests.runtime.test_deferred_hardening import DECOUPLED, INT, SENDER, ints, numbers, out, wait_for
from tests.runtime.test_ownership import POINTER, swap  # noqa: F401  a fixture
from triton_backend_sdk import InternalError, Response, TritonError


def failure(message):
    import triton_backend_sdk._native as native

    made = native.lib.TRITONSERVER_ErrorNew(native.lib.TRITONSERVER_ERROR_UNAVAILABLE, message)
    return int(native.ffi.cast("uintptr_t", made))


PROTOTYPES = {
    "TRITONBACKEND_ResponseFactoryNew": (POINTER, POINTER),
    "TRITONBACKEND_ResponseNewFromFactory": (POINTER, POINTER),
    "TRITONBACKEND_ResponseNew": (POINTER, POINTER),
    "TRITONBACKEND_ResponseOutput": (
        POINTER,
        POINTER,
        ctypes.c_char_p,
        ctypes.c_int,
        POINTER,
        ctypes.c_uint32,
    ),
    "TRITONBACKEND_OutputBuffer": (POINTER, POINTER, ctypes.c_uint64, POINTER, POINTER),
    "TRITONBACKEND_ResponseSetIntParameter": (POINTER, ctypes.c_char_p, ctypes.c_int64),
    "TRITONBACKEND_ModelInstanceReportStatistics": (POINTER, POINTER, ctypes.c_bool) + (ctypes.c_uint64,) * 4,
    "TRITONBACKEND_ModelInstanceReportBatchStatistics": (POINTER, *(ctypes.c_uint64,) * 5),
    "TRITONBACKEND_ModelInstanceResponseStatisticsNew": (POINTER,),
    "TRITONBACKEND_RequestIsCancelled": (POINTER, POINTER),
}

STREAM = """
    @hookimpl
    def execute(request):
        for i in range(3):
            if i == 1:
                request.output("OUT", [1]).numpy()[:] = i
                yield Response(parameters={"i": i})
            else:
                yield Response({"OUT": np.int32([i])}, parameters={"i": i})
"""


@pytest.mark.parametrize("extra", ["", DECOUPLED], ids=["one", "decoupled"])
@pytest.mark.parametrize("function", PROTOTYPES)
def test_a_triton_that_fails_now_and_then(serve, swap, function, extra):  # noqa: F811
    """Each request is answered, once, and released, whichever call it was that failed."""
    served = serve(SENDER if not extra else STREAM, *INT, extra=extra)
    calls, bad = [0], [None]

    def make(real):
        def call(*arguments):
            calls[0] += 1
            return failure(b"out of it") if calls[0] == bad[0] else real(*arguments)

        return call

    swap(function, ctypes.CFUNCTYPE(POINTER, *PROTOTYPES[function]), make)
    for which in range(1, 7):
        calls[0], bad[0] = 0, which
        stream = served.stream(ints(1))
        if not extra:
            wait_for(lambda: served.module.kept)
            request, sender = served.module.kept.pop()
            with contextlib.suppress(InternalError):
                sender.send(Response({"OUT": np.int32([1])}, parameters={"i": 1}))
            del request, sender
        found = stream.collect()
        assert stream.finals == 1
        assert all(
            "out of it" in str(item) or "dropped" in str(item)
            for item in found
            if isinstance(item, TritonError)
        )
    bad[0] = None
    assert served.core.wait_released(5)


def test_a_request_is_released_while_its_answer_is_made(serve, swap):  # noqa: F811
    """The thread that answers needs the request for it: releasing waits, or says why not."""
    served = serve(
        """
        kept = []
        @hookimpl
        def execute(requests):
            kept.extend(requests)
            raise ValueError("no outputs, so the response is made when it is sent")
        """,
        *INT,
    )
    with pytest.raises(TritonError):
        served.infer(ints(1))
    served.module.kept.clear()
    gc.collect()
    released = []

    def make(real):
        def new(response, request):
            while served.module.kept:
                served.module.kept.pop().release()
                released.append(True)
            time.sleep(0.05)
            return real(response, request)

        return new

    swap("TRITONBACKEND_ResponseNew", ctypes.CFUNCTYPE(POINTER, POINTER, POINTER), make)
    with pytest.raises(TritonError, match="no outputs"):
        served.infer(ints(1))
    assert released == [True]


def test_a_request_is_released_while_its_output_is_made(serve, swap):  # noqa: F811
    served = serve(
        """
        kept = []
        @hookimpl
        def execute(requests):
            kept.extend(requests)
            return [Response({"OUT": np.zeros(100000, np.int32)}) for _ in requests]
        """,
        INT[0],
        {"OUT": ("INT32", [-1])},
    )
    served.infer(ints(1))
    served.module.kept.clear()
    errors = []

    def release():
        try:
            served.module.kept[0].release()
        except InternalError as error:
            errors.append(str(error))

    def make(real):
        def new(response, request):
            thread = threading.Thread(target=release)
            thread.start()
            thread.join(5)
            return real(response, request)

        return new

    swap("TRITONBACKEND_ResponseNew", ctypes.CFUNCTYPE(POINTER, POINTER, POINTER), make)
    assert served.infer(ints(1))["OUT"].size == 100000
    assert errors == ["another thread is making an output of this request: release it after that"]
    served.module.kept.clear()


def test_an_instance_ends_while_an_exception_of_its_sender_is_described(serve):
    """Logging lets other threads run, and Triton may take the instance away then."""
    served = serve(SENDER, *INT, extra="instance_group { kind: KIND_CPU count: 2 }")
    streams = [served.stream(ints(i)) for i in range(10)]
    wait_for(lambda: len(served.module.kept) == 10)
    config = served.repository / served.name / "config.pbtxt"
    config.write_text(config.read_text().replace("count: 2", "count: 1"))

    class OddError(ValueError):
        def __str__(self):
            served.core.load(served.name)
            gc.collect()
            time.sleep(0.2)
            return "odd"

    for _, sender in served.module.kept:
        sender.send(OddError())
    del sender, _
    served.module.kept.clear()
    for stream in streams:
        assert "odd" in str(stream.collect()[0])


def test_a_batch_of_many_with_everything_in_it(serve):
    served = serve(
        """
        senders = []
        def items(value):
            for i in range(value % 3):
                yield Response({"OUT": np.int32([[i]])})
            if value % 5 == 0:
                raise ValueError("five")
        @hookimpl
        def execute(requests):
            answers = []
            for request in requests:
                value = int(request["IN"].numpy()[0, 0])
                match value % 4:
                    case 0: answers.append(Response({"OUT": np.int32([[value]])}))
                    case 1: answers.append(items(value))
                    case 2: answers.append(ValueError("two"))
                    case 3:
                        senders.append(request.response_sender())
                        answers.append(None)
            return answers
        """,
        *INT,
        batch=200,
        extra=DECOUPLED
        + " dynamic_batching { max_queue_delay_microseconds: 500000 preferred_batch_size: [200] }",
    )
    streams = [served.stream({"IN": np.int32([[i]])}) for i in range(200)]
    wait_for(lambda: len(served.module.senders) == 50)
    assert (
        "batch_stats" not in served.core.statistics(served.name)
        or not served.core.statistics(served.name)["batch_stats"]
    )
    served.module.senders.clear()
    for stream in streams:
        stream.collect()
        assert stream.finals == 1
    wait_for(lambda: served.core.statistics(served.name)["batch_stats"])
    assert [entry["batch_size"] for entry in served.core.statistics(served.name)["batch_stats"]] == [200]


def test_one_generator_for_two_requests(serve):
    served = serve(
        """
        @hookimpl
        def execute(requests):
            one = (Response({"OUT": np.int32([[i]])}) for i in range(4))
            return [one] * len(requests)
        """,
        *INT,
        batch=2,
        extra=DECOUPLED
        + " dynamic_batching { max_queue_delay_microseconds: 500000 preferred_batch_size: [2] }",
    )
    streams = [served.stream({"IN": np.int32([[i]])}) for i in range(2)]
    found = [int(item["OUT"][0, 0]) for stream in streams for item in stream.collect()]
    assert sorted(found) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("yield generator[0]", "generator"),
        ("next(generator[0]); yield", "already executing"),
        ("raise StopIteration", "RuntimeError"),
        ("request.response_sender(); yield", "already taken"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("import sys; sys.exit(3); yield", "SystemExit"),
        ("yield Response(error=ValueError)", "ValueError"),
        ("generator[0].close(); yield", "already executing"),
    ],
)
def test_odd_generators(serve, body, why):
    served = serve(
        f"""
        generator = []
        def make(request):
            {body}
            if False: yield
        @hookimpl
        def execute(requests):
            generator[:] = [make(request) for request in requests]
            return generator
        """,
        *INT,
        extra=DECOUPLED,
    )
    stream = served.stream(ints(1))
    assert why in str(stream.collect()[0])
    assert stream.finals == 1
    served.module.generator.clear()


@pytest.mark.parametrize("how", ["yield", "raise OSError('no end')", "import time; time.sleep(0.2)"])
def test_a_generator_that_does_not_want_to_end(serve, how):
    served = serve(
        f"""
        @hookimpl
        def execute(request):
            try:
                yield Response({{"OUT": np.int32([1])}})
                yield "wrong"
            finally:
                {how}
        """,
        *INT,
        extra=DECOUPLED,
    )
    stream = served.stream(ints(1))
    good, bad = stream.collect()
    assert good["OUT"] == 1
    assert "str" in str(bad)
    assert stream.finals == 1


def test_a_rescheduled_answer_that_fails_after_all(serve):
    served = serve(
        """
        senders = []
        @hookimpl
        def execute(requests):
            senders.extend(request.response_sender() for request in requests)
            return [None] * len(requests)
        """,
        *INT,
        extra=DECOUPLED,
    )
    stream = served.stream(ints(1))
    wait_for(lambda: served.module.senders)
    sender = served.module.senders.pop()
    sender.send(out(1))
    try:
        sender.send(Response(reschedule=True))
    except InternalError:
        sender.close()
    found = stream.collect()
    assert numbers(found[:1]) == [1]
    assert stream.finals == 1


MISDEEDS = {
    "wrong shape": 'sender.send(Response({"OUT": np.int32([1, 2])}))',
    "wrong name": 'sender.send(Response({"NO": 1}))',
    "wrong type": "sender.send(42)",
    "wrong parameter": 'sender.send(Response({"OUT": np.int32([1])}, parameters={"x": None}))',
    "rescheduled": "sender.send(Response(reschedule=True))",
    "error": "sender.send(ValueError('x'))",
    "sender again": "request.response_sender()",
    "output twice": 'request.output("OUT", [1]); request.output("OUT", [1])',
    "too late": "sender.close(); sender.send(Response())",
    "after release": 'request.release(); request["IN"]',
}


@pytest.mark.parametrize("extra", ["", DECOUPLED], ids=["one", "decoupled"])
@pytest.mark.parametrize("misdeed", MISDEEDS)
def test_no_misdeed_leaks(serve, misdeed, extra):
    served = serve(
        f"""
        @hookimpl
        def execute(requests):
            for request in requests:
                sender = request.response_sender()
                try:
                    {MISDEEDS[misdeed]}
                except TritonError:
                    pass
            return [None] * len(requests)
        """,
        *INT,
        extra=extra,
    )

    def some(count):
        for _ in range(count):
            served.stream(ints(1)).collect()
        assert served.core.wait_released(5)
        gc.collect()
        return sys.getallocatedblocks()

    logging.disable()  # pytest keeps what is logged
    try:
        some(300)
        before = some(300)
        assert some(1000) - before < 500  # less than one for two requests
    finally:
        logging.disable(logging.NOTSET)


@pytest.mark.parametrize(
    "how",
    [
        "yield",
        "raise ValueError('own')",
        "request.response_sender(); yield",
        "yield 3",
        "request.release(); yield",
    ],
)
def test_a_generator_on_a_thread_of_its_own(serve, how):
    served = serve(
        f"""
        import threading
        names = set()
        @hookimpl
        def execute(request):
            try:
                yield Response({{"OUT": np.int32([1])}})
                {how}
            finally:
                names.add(threading.current_thread().name)
        """,
        *INT,
        extra=DECOUPLED,
        parameters={"instance_thread": "own", "slow_execute_ms": 0.0001, "execute_watchdog_seconds": 30},
    )
    stream = served.stream(ints(1))
    found = stream.collect()
    assert found[0]["OUT"] == 1
    assert all(isinstance(item, TritonError) for item in found[1:])
    assert stream.finals == 1
    assert len(served.module.names) == 1
    assert served.module.names.pop().startswith(served.name)
