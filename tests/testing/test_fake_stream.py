"""The fake host beside the real core, where requests are answered by many responses, later, or from elsewhere."""

import asyncio
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

from triton_backend_sdk import (
    CancelledError,
    InternalError,
    Response,
    TritonError,
    UnsupportedError,
    hookimpl,
)
from triton_backend_sdk.testing import FakeHost
from triton_backend_sdk.testing.fake_reply import FakeResponse, FakeResponses

CONFIG = """
backend: "many"
max_batch_size: 4
input { name: "IN" data_type: TYPE_FP32 dims: [ -1 ] }
output { name: "OUT" data_type: TYPE_FP32 dims: [ -1 ] }
"""
DECOUPLED = "model_transaction_policy { decoupled: true }"
X = np.float32([[1, 2]])

HEADER = """
import asyncio, threading
import numpy as np
from triton_backend_sdk import Response, UnsupportedError, hookimpl

#: What the author learns, beside the client.
SEEN = []

def good(request, **more):
    return Response({"OUT": np.array(request["IN"])}, **more)

def note(call, *arguments, **keywords):
    try:
        SEEN.append(repr(call(*arguments, **keywords)))
    except Exception as error:
        SEEN.append((type(error), str(error)))
"""

#: Ways to answer from execute(requests).
BATCH = """
def gen(*items, error=None, returns=None):
    yield from items
    if error is not None:
        raise error
    return returns

def in_place(request, *, close=True):
    out = request.output("OUT", (1, 2)).numpy()
    for number in range(3):
        out[:] = number
        yield Response()
        out[:] = 9
        out = request.output("OUT", (1, 2)).numpy()

def in_place_twice(request):
    request.output("OUT", (1, 2))
    request.output("OUT", (1, 2))
    yield Response()

def sent(*items, final=False, close=True):
    def answer(request):
        sender = request.response_sender()
        for item in items:
            note(sender.send, item(request), final=final)
        if close:
            sender.close()
            note(sender.send, good(request))
            note(lambda: (sender.closed, sender.is_cancelled(), repr(sender)))
    return answer

def within(*items, error=None, final=False):
    def answer(request):
        with request.response_sender() as sender:
            for item in items:
                note(sender.send, item(request), final)
            if error:
                raise ValueError(error)
    return lambda request: note(answer, request)

def both(request):
    request.response_sender()
    return good(request)

def taken_and_raised(request):
    request.response_sender()
    raise ValueError("mine")

def taken_twice(request):
    with request.response_sender() as sender:
        note(request.response_sender)
        note(sender.send, good(request), final=True)
        note(request.response_sender)
        note(request.output, "OUT", (1, 2))

def threaded(request):
    sender = request.response_sender()
    def later():
        note(sender.send, good(request), final=True)
    thread = threading.Thread(target=later)
    thread.start()
    thread.join()

def outputs(request):
    note(lambda: list(request.outputs))
    request.output("OUT", (1, 2)).numpy().fill(4)
    note(lambda: list(request.outputs))
    return Response()

def released(request):
    response = good(request)
    request.release()
    request.release()
    for name in ("id", "parameters", "batch_size", "timeout_us", "flags", "deadline", "correlation_id", "trace",
                 "outputs"):
        note(getattr, request, name)
    note(lambda: request["IN"])
    note(lambda: "IN" in request)
    note(lambda: request.get("IN"))
    note(lambda: list(request))
    note(lambda: len(request))
    note(repr, request)
    note(request.output, "OUT", (1, 2))
    note(request.is_cancelled)
    note(request.response_sender)
    note(request.input_buffers, "IN")
    return response

def released_with_sender(request):
    sender, response = request.response_sender(), good(request)
    request.release()
    note(sender.is_cancelled)
    note(sender.send, response, final=True)

def facts(request):
    return good(request, parameters={
        "deadline": request.deadline.remaining() is None, "expired": request.deadline.expired,
        "timeout": request.timeout_us, "correlation": request.correlation_id, "flags": int(request.flags),
        "cancelled": request.is_cancelled(), "instance": request.instance.name.split("_")[0],
    })

def same_twice(request):
    response = good(request)
    yield response
    yield response

def close_fails(request):
    try:
        yield good(request)
        yield "x"
    finally:
        raise ValueError("in close")

bare = lambda r: Response()
wrong = lambda r: Response({"WRONG": 1})
no = lambda r: UnsupportedError("no")

CASES = {
    "one": good,
    "facts": facts,
    "none": lambda r: None,
    "no outputs": bare,
    "generator": lambda r: gen(good(r), good(r)),
    "iterator": lambda r: iter([good(r)]),
    "generator of nothing": lambda r: gen(),
    "generator without outputs": lambda r: gen(Response(), Response()),
    "raises first": lambda r: gen(error=ValueError("first")),
    "raises half-way": lambda r: gen(good(r), error=ValueError("half-way")),
    "exits half-way": lambda r: gen(good(r), error=SystemExit(3)),
    "returns a response at its end": lambda r: gen(good(r), returns=good(r)),
    "yields no response": lambda r: gen(good(r), "x", good(r)),
    "yields wrong output": lambda r: gen(good(r), wrong(r), good(r)),
    "yields wrong shape": lambda r: gen(Response({"OUT": np.float32([1])})),
    "yields an error and goes on": lambda r: gen(no(r), good(r)),
    "yields an error response and goes on": lambda r: gen(Response(error=no(r)), good(r)),
    "yields one response twice": same_twice,
    "fails when closed": close_fails,
    "in place": in_place,
    "in place twice": in_place_twice,
    "parameters": lambda r: good(r, parameters={"b": True, "i": -5, "f": 1.5, "s": "\\u00fc"}),
    "parameters alone": lambda r: Response(parameters={"b": False}),
    "parameters of a stream": lambda r: gen(good(r, parameters={"n": 0}), Response(parameters={"n": 1})),
    "parameters no mapping": lambda r: good(r, parameters=5),
    "parameters as pairs": lambda r: good(r, parameters=[("x", 1)]),
    "parameter no scalar": lambda r: good(r, parameters={"x": [1]}),
    "parameter without name": lambda r: good(r, parameters={1: 1}),
    "parameter too large": lambda r: good(r, parameters={"x": 2**63}),
    "reschedule": lambda r: Response(reschedule=True),
    "reschedule with outputs": lambda r: good(r, reschedule=True),
    "reschedule in a stream": lambda r: gen(good(r), Response(reschedule=True), good(r)),
    "sender": sent(good),
    "sender, final": sent(good, final=True),
    "sender, after final": sent(good, good, final=True),
    "sender, many": sent(good, good, bare),
    "sender, nothing": sent(),
    "sender, error": sent(no),
    "sender, error, goes on": sent(no, good),
    "sender, wrong, then good": sent(wrong, good),
    "sender, no response, then good": sent(lambda r: "x", good),
    "sender, wrong": sent(wrong),
    "sender, none": sent(lambda r: None),
    "sender, lacks output": sent(bare),
    "sender dropped": sent(close=False),
    "sender dropped after one": sent(good, close=False),
    "sender dropped after wrong": sent(wrong, close=False),
    "sender, reschedule": sent(lambda r: Response(reschedule=True)),
    "with": within(good),
    "with nothing": within(),
    "with, raises": within(error="in with"),
    "with, raises after one": within(good, error="in with"),
    "with, raises after final": within(good, error="in with", final=True),
    "sender and response": both,
    "sender and exception": taken_and_raised,
    "sender taken twice": taken_twice,
    "sender on a thread": threaded,
    "outputs": outputs,
    "released": released,
    "released with sender": released_with_sender,
}

@hookimpl
def execute(requests):
    return [CASES[request.parameters["case"]](request) for request in requests]
"""

SINGLE = """
CASES = {
    "one": good,
    "raises": lambda r: 1 / 0,
    "none": lambda r: None,
    "sender": lambda r: SEEN.append(r.response_sender().send(good(r), True)),
    "generator": lambda r: (good(r) for _ in range(2)),
}

@hookimpl
def execute(instance, request):
    return CASES[request.parameters["case"]](request)
"""

ASYNC = """
async def cancelled(request):
    raise asyncio.CancelledError

async def slow(request):
    await asyncio.sleep(0.01)
    return good(request)

async def now(value):
    return value

CASES = {
    "one": slow,
    "raises": lambda r: now(1 / 0),
    "none": lambda r: now(None),
    "wrong": lambda r: now(Response({"WRONG": 1})),
    "no outputs": lambda r: now(Response()),
    "error": lambda r: now(UnsupportedError("no")),
    "exits": lambda r: exit(3),
    "parameters": lambda r: now(good(r, parameters={"x": 1})),
    "cancelled": cancelled,
    "sender": lambda r: note(r.response_sender) or slow(r),
}

@hookimpl
async def execute(request):
    return await CASES[request.parameters["case"]](request)
"""

ASYNC_BATCH = (
    ASYNC.split("@hookimpl", maxsplit=1)[0]
    + """
CASES["too few"] = None
CASES["no list"] = None

@hookimpl
async def execute(requests):
    case = requests[0].parameters["case"]
    if case == "too few":
        return []
    if case == "no list":
        return "x"
    return [await CASES[case](request) for request in requests]
"""
)

ASYNC_STREAM = """
CASES = {
    "nothing": (),
    "two": (good, good),
    "raises half-way": (good, lambda r: 1 / 0),
    "wrong": (good, lambda r: Response({"WRONG": 1}), good),
    "no response": (lambda r: 5,),
    "an error, goes on": (lambda r: UnsupportedError("no"), good),
    "no outputs": (lambda r: Response(),),
}

@hookimpl
async def execute(instance, request):
    for item in CASES[request.parameters["case"]]:
        await asyncio.sleep(0)
        yield item(request)
"""

KINDS = {
    "batch": (BATCH, ""),
    "batch, decoupled": (BATCH, DECOUPLED),
    "single": (SINGLE, ""),
    "single, decoupled": (SINGLE, DECOUPLED),
    "async": (ASYNC, ""),
    "async, decoupled": (ASYNC, DECOUPLED),
    "async batch": (ASYNC_BATCH, ""),
    "async stream": (ASYNC_STREAM, DECOUPLED),
}


@pytest.fixture
def many(tmp_path, monkeypatch, request):
    source, extra = KINDS[request.param]
    (tmp_path / "many").mkdir()
    (tmp_path / "many" / "__init__.py").touch()
    (tmp_path / "many" / "plugin.py").write_text(textwrap.dedent(HEADER + source))
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "many"\n[tool.tbsdk]\nbackend = "many"\n')
    (tmp_path / "model_repository" / "many" / "1").mkdir(parents=True)
    (tmp_path / "model_repository" / "many" / "config.pbtxt").write_text(CONFIG + extra)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in ("many", "many.plugin"):
        sys.modules.pop(name, None)


def told(responses):
    """Give all that a client learns."""
    everything = [
        (type(one), str(one))
        if isinstance(one, TritonError)
        else ({name: array.tolist() for name, array in one.items()}, one.parameters, one.final)
        for one in responses
    ]
    return everything, responses.finals, responses.empty_final


@pytest.mark.parametrize("many", KINDS, indirect=True)
def test_the_fake_host_says_what_the_real_core_says(many, fake_host, triton_core):
    core = triton_core(many)
    import many.plugin as plugin

    host = fake_host(plugin, many / "model_repository" / "many" / "config.pbtxt")
    differing = {}
    for case in plugin.CASES:
        plugin.SEEN.clear()
        real = told(core.responses("many", {"IN": X}, parameters={"case": case}, timeout=10))
        assert core.wait_released(5), (case, core.live_objects())
        # The next is executed when this is over, which may be after its client knows.
        core.responses("many", {"IN": X}, parameters={"case": next(iter(plugin.CASES))}, timeout=10)
        seen = [*plugin.SEEN]
        plugin.SEEN.clear()
        request = host.request({"IN": X}, parameters={"case": case})
        host.execute(request, errors="return")
        fake = told(FakeResponses(request._reply))
        if (fake, plugin.SEEN) != (real, seen):
            differing[case] = {"fake": (fake, plugin.SEEN), "real": (real, seen)}
        assert real[1] == 1, case
    assert differing == {}
    assert core.late_answers == 0


# --- by itself ---


class Numbers:
    """Streams as many numbers as IN has elements; for ever for none."""

    closed = 0

    @hookimpl
    def execute(self, request):
        count = request["IN"].shape[1] or 2**62
        try:
            for number in range(count):
                yield Response({"OUT": np.full((1, 1), number, np.float32)}, parameters={"n": number})
        finally:
            Numbers.closed += 1


class Sleeps:
    """Sleeps IN seconds and answers; says when it was cancelled."""

    cancelled = 0
    running = most = 0

    @hookimpl
    async def initialize(self):
        self.lock = asyncio.Lock()

    @hookimpl
    async def execute(self, request):
        async with self.lock:
            Sleeps.running += 1
            Sleeps.most = max(Sleeps.most, Sleeps.running)
        try:
            await asyncio.sleep(float(request["IN"].numpy()[0, 0]))
        except asyncio.CancelledError:
            Sleeps.cancelled += 1
            raise
        finally:
            Sleeps.running -= 1
        return Response({"OUT": request["IN"]})


KEPT = []


class Keeps:
    """Keeps the sender, in a cycle or for good."""

    @hookimpl
    def execute(self, request):
        sender = request.response_sender()
        if request.id == "cycle":
            cycle = [sender]
            cycle.append(cycle)
        else:
            KEPT.append(sender)


class Later:
    """Answers from another thread, some time later."""

    @hookimpl
    def execute(self, requests):
        for number, request in enumerate(requests):
            arguments = (request.response_sender(), number, len(requests))
            threading.Timer(0.02 * (len(requests) - number), self.answer, arguments).start()
        return [None] * len(requests)

    @staticmethod
    def answer(sender, number, count):
        with sender:
            for _ in range(count):
                sender.send(Response({"OUT": np.full((1, 1), number, np.float32)}))


class Again:
    """Counts the times that a request is executed."""

    @hookimpl
    def initialize(self):
        self.steps = 0

    @hookimpl
    def execute(self, instance, requests):
        self.steps += 1
        last = self.steps == int(requests[0]["IN"].numpy()[0, 0])
        outputs = {"OUT": np.full((1, 1), self.steps, np.float32)}
        return [Response(outputs if last or instance.model.decoupled else None, reschedule=not last)]


PLAIN = CONFIG.replace("many", "plain")
STREAM = CONFIG.replace("many", "stream") + DECOUPLED
ITERATIVE = "sequence_batching { iterative_sequence: true }"


def zeros(count):
    return {"IN": np.zeros((1, count), np.float32)}


def test_a_decoupled_model_gives_a_list_per_request(fake_host):
    three, one = fake_host(Numbers, STREAM).execute([zeros(3), zeros(1)])
    assert [response["OUT"].item() for response in three] == [0, 1, 2]
    assert [response.parameters for response in three] == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert (three.finals, three.empty_final, len(one)) == (1, True, 1)


def test_responses_come_one_by_one_and_who_leaves_has_cancelled(fake_host):
    host, closed = fake_host(Numbers, STREAM), Numbers.closed
    seen = []
    for response in host.stream(zeros(0)):
        seen.append(response["OUT"].item())
        if len(seen) == 3:
            break
    assert (seen, Numbers.closed) == ([0, 1, 2], closed + 1)


def test_a_test_can_cancel(fake_host):
    host = fake_host(Numbers, STREAM)
    request = host.request(zeros(0))
    stream = host.stream(request)
    assert next(stream)["OUT"].item() == 0
    assert not request.is_cancelled()
    request.cancel()
    assert request.is_cancelled()
    with pytest.raises(CancelledError, match="the client cancelled the request"):
        list(stream)
    request = host.request(zeros(5))
    request.cancel()
    [[error]] = host.execute(request, errors="return")
    assert isinstance(error, CancelledError)


def test_coroutines_run_at_the_same_time(fake_host):
    host = fake_host(Sleeps, PLAIN)
    start = time.monotonic()
    results = host.execute([{"IN": np.float32([[0.1]])} for _ in range(20)])
    assert [type(result) for result in results] == [FakeResponse] * 20
    assert Sleeps.most == 20
    assert time.monotonic() - start < 1


def test_a_coroutine_is_cancelled(fake_host):
    host, cancelled = fake_host(Sleeps, PLAIN), Sleeps.cancelled
    request = host.request({"IN": np.float32([[60]])})
    threading.Timer(0.05, request.cancel).start()
    with pytest.raises(CancelledError, match="the client cancelled the request"):
        host.execute(request)
    assert Sleeps.cancelled == cancelled + 1


def test_the_event_loop_ends_with_the_host(fake_host):
    host = fake_host(Sleeps, PLAIN, name="plain")
    assert "plain asyncio" in {thread.name for thread in threading.enumerate()}
    host.close()
    assert "plain asyncio" not in {thread.name for thread in threading.enumerate()}


def test_senders_answer_later_from_another_thread(fake_host):
    host = fake_host(Later, STREAM)
    for number, responses in enumerate(host.execute([zeros(1)] * 3)):
        assert [response["OUT"].item() for response in responses] == [number] * 3
    assert [response["OUT"].item() for response in host.stream(zeros(1))] == [0]


@pytest.mark.parametrize("config", [PLAIN, STREAM])
def test_a_request_that_is_never_answered_fails_the_test(fake_host, config):
    host = fake_host(Keeps, config, answer_timeout=0.1)
    with pytest.raises(AssertionError, match=r"request 0 was not answered within 0\.1 s: its ResponseSender"):
        host.execute(zeros(1))
    with pytest.raises(AssertionError, match="request 0 was not answered"):
        list(host.stream(zeros(1)))
    KEPT.clear()


@pytest.mark.parametrize("config", [PLAIN, STREAM])
def test_a_sender_in_a_cycle_ends_its_request(fake_host, config):
    host = fake_host(Keeps, config)
    with pytest.raises(InternalError, match="the plugin dropped the request's ResponseSender"):
        host.execute(host.request(zeros(1), id="cycle"))


def test_the_deadline_is_that_of_the_request(fake_host):
    host = fake_host(Numbers, STREAM)
    request = host.request(zeros(1), timeout_us=50_000)
    assert 0 < request.deadline.remaining() <= 0.05
    time.sleep(0.06)
    assert request.deadline.expired
    host.execute(request)
    assert request.timeout_us == 50_000
    assert host.request(zeros(1)).deadline.remaining() is None


@pytest.mark.parametrize(("config", "expected"), [(PLAIN, [3]), (STREAM, [1, 2, 3])])
def test_a_rescheduled_request_is_executed_again(fake_host, config, expected):
    host = fake_host(Again, config + ITERATIVE)
    request = host.request({"IN": np.float32([[3]])}, correlation_id="a", sequence_start=True)
    [result] = host.execute(request)
    responses = result if isinstance(result, FakeResponses) else [result]
    assert [response["OUT"].item() for response in responses] == expected
    assert [response.final for response in responses] == [False] * (len(expected) - 1) + [True]
    assert (request.correlation_id, request.flags) == ("a", 0)


def test_a_request_without_end_is_noticed(fake_host):
    host = fake_host(Again, PLAIN + ITERATIVE, answer_timeout=0.1)
    with pytest.raises(AssertionError, match="rescheduled a request"):
        host.execute({"IN": np.float32([[-1]])})


def test_an_error_among_responses(fake_host):
    class Plugin:
        @hookimpl
        def execute(self, request):
            yield Response({"OUT": request["IN"]})
            yield UnsupportedError("not this one")
            yield Response({"OUT": request["IN"]})

    host = fake_host(Plugin, STREAM)
    with pytest.raises(UnsupportedError, match="not this one"):
        host.execute(zeros(1))
    [responses] = host.execute(zeros(1), errors="return")
    assert [type(one) for one in responses] == [FakeResponse, UnsupportedError, FakeResponse]


def test_a_generator_needs_a_decoupled_model(fake_host):
    with pytest.raises(TritonError, match="execute yields responses, but model 'double' is not decoupled"):
        FakeHost(Numbers, PLAIN, name="double")
