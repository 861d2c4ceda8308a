"""No view outlives its memory, whatever the plugin keeps and whichever thread lets go of it."""

import gc
import threading
import time
from concurrent.futures import TimeoutError as FutureTimeout

import numpy as np
import pytest

LEGACY_COPIES = pytest.mark.skipif(
    np.lib.NumpyVersion(np.__version__) < "2.1.0",
    reason="this NumPy takes only legacy capsules, which cannot say read-only, so it gets a copy",
)
KEEP = """
kept = []
@hookimpl
def execute(requests):
    for request in requests:
        t = request["IN"]
        kept.append({what})
    return [Response({{"OUT": request["IN"]}}) for request in requests]
"""


@pytest.mark.parametrize(
    "what",
    [
        "t",
        "t.numpy()",
        "t.numpy()[1:3]",
        pytest.param("np.from_dlpack(t)", marks=LEGACY_COPIES),
        "np.asarray(t)",
        "memoryview(t)",
        "t.__dlpack__(max_version=(1, 0))",
        "request",
        "np.frombuffer(t, np.float32)",
    ],
)
def test_a_kept_view_of_an_input_keeps_its_request_and_only_that(serve, what):
    served = serve(KEEP.format(what=what))
    first, second = np.arange(5, dtype=np.float32), np.arange(5, 10, dtype=np.float32)
    assert (
        served.infer({"IN": first})["OUT"].tolist() == first.tolist()
    )  # answered long before it is released
    assert served.infer({"IN": second})["OUT"].tolist() == second.tolist()
    time.sleep(0.05)
    assert served.core.live_objects()["requests"] == 2
    kept = served.module.kept
    if isinstance(kept[0], np.ndarray):
        assert kept[0].tolist() == first[1:3].tolist() if "[" in what else kept[0].tolist() == first.tolist()
    del kept[0]
    gc.collect()
    deadline = time.monotonic() + 5
    while served.core.live_objects()["requests"] != 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert served.core.live_objects()["requests"] == 1
    kept.clear()
    assert served.core.wait_released(5)
    assert (
        served.log.count(f"{served.name}_0_0: the plugin still holds an array of an input") == 1
    )  # said once, not per request


def test_the_last_view_may_be_dropped_by_any_thread(serve):
    served = serve(KEEP.format(what="t.numpy()"))
    for _ in range(20):
        served.infer({"IN": np.ones(4, np.float32)})
    threads = [threading.Thread(target=served.module.kept.pop) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert served.core.wait_released(5)


IN_PLACE = """
kept = []
@hookimpl
def execute(requests):
    answers = []
    for request in requests:
        x = request["IN"].numpy()
        y = request.output("OUT", x.shape).numpy()
        np.multiply(x, 2, out=y)
        {then}
        answers.append(Response())
    return answers
"""


def test_an_output_written_in_place_is_tritons_own_buffer(serve):
    served = serve(IN_PLACE.format(then="kept.append(y.ctypes.data)"))
    result = served.infer({"IN": np.arange(4, dtype=np.float32)})["OUT"]
    assert result.tolist() == [0, 2, 4, 6]
    assert served.module.kept == [result.ctypes.data]


def test_a_kept_view_of_an_output_delays_its_response_and_never_dangles(serve):
    served = serve(IN_PLACE.format(then="kept.append(y)"))
    future = served.send({"IN": np.ones(3, np.float32)})
    with pytest.raises(FutureTimeout):
        future.result(0.2)
    served.module.kept[0][:] = 7  # still Triton's memory, still ours to write
    assert "still holds an array of an output" in served.log
    served.module.kept.clear()
    assert future.result(5)["OUT"].tolist() == [7, 7, 7]


def test_a_view_of_an_output_in_a_reference_cycle_does_not_delay_the_response(serve):
    served = serve(IN_PLACE.format(then="cycle = [y]; cycle.append(cycle)"))
    assert served.infer({"IN": np.ones(2, np.float32)})["OUT"].tolist() == [2, 2]


def test_a_failed_request_with_a_kept_output_answers_when_it_is_dropped(serve):
    served = serve(IN_PLACE.format(then='kept.append(y); raise ValueError("no")'))
    future = served.send({"IN": np.ones(2, np.float32)})
    with pytest.raises(FutureTimeout):
        future.result(0.2)
    served.module.kept.clear()
    with pytest.raises(ValueError, match="ValueError: no"):
        future.result(5)


def test_a_request_kept_past_its_answer_is_readable_but_takes_no_output(serve):
    served = serve(KEEP.format(what="request"))
    served.infer({"IN": np.arange(3, dtype=np.float32)})
    (request,) = served.module.kept
    assert request["IN"].tolist() == [0, 1, 2]
    with pytest.raises(RuntimeError, match="already answered"):
        request.output("OUT", [3])
    del request
    served.module.kept.clear()


def test_unload_waits_for_what_is_held_and_then_ends(serve):
    served = serve(KEEP.format(what="t.numpy()"))
    served.infer({"IN": np.ones(3, np.float32)})
    kept = served.module.kept
    served.core.unload(served.name, wait=False)
    time.sleep(0.1)
    assert served.core.live_objects()["requests"] == 1
    kept.clear()
    served.core.unload(served.name)


def test_memory_of_unconsumed_and_consumed_capsules_is_freed(serve):
    served = serve(
        """
        @hookimpl
        def execute(requests):
            t = requests[0]["IN"]
            t.__dlpack__(); t.__dlpack__(max_version=(1, 0)); t.__dlpack__(max_version=(1, 0), copy=True)
            np.from_dlpack(t)
            return [Response({"OUT": np.from_dlpack(t)})]
        """
    )
    for _ in range(50):
        served.infer({"IN": np.ones(1000, np.float32)})
    assert served.core.wait_released(5)


@pytest.mark.parametrize("decoupled", [False, True])
def test_a_sender_that_is_kept_when_all_is_sent_does_not_hold_up_the_unload(serve, decoupled):
    served = serve(
        """
        kept = []

        @hookimpl
        def execute(requests):
            for request in requests:
                sender = request.response_sender()
                kept.append(sender)
                sender.send(Response({"OUT": np.zeros(1, np.float32)}), final=True)
            return [None] * len(requests)
        """,
        extra="model_transaction_policy { decoupled: true }" if decoupled else "",
    )
    served.infer({"IN": np.ones(3, np.float32)})
    (sender,) = served.module.kept
    served.core.unload(served.name)
    assert sender.closed
    assert not sender.is_cancelled()
    with pytest.raises(RuntimeError, match="final response"):
        sender.send(ValueError("late"))


def test_a_model_knows_whether_it_is_served(serve):
    served = serve(
        """
        kept = []

        @hookimpl
        def execute(instance, requests):
            kept.append((instance.model, requests[0]["IN"].numpy()))
            return [Response({"OUT": np.float32([instance.model.is_served()])}) for request in requests]
        """
    )
    assert served.infer({"IN": np.ones(3, np.float32)})["OUT"].tolist() == [1]
    (model, view) = served.module.kept.pop()
    served.core.unload(served.name, wait=False)
    end = time.monotonic() + 5
    while model.is_served() and time.monotonic() < end:
        time.sleep(0.01)
    assert not model.is_served()
    del view
    served.core.unload(served.name)
