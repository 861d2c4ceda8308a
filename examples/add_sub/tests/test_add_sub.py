"""Sums, differences, and requests that do not bother their neighbours."""

import time

import numpy as np
import pytest
from add_sub import plugin

from triton_backend_sdk import InvalidArgError

A = np.float32([[10, 20, 30]])
B = np.float32([[1, 2, 3]])


def test_sum_and_difference(fake_host):
    [result] = fake_host("add_sub.plugin").execute({"A": A, "B": B})

    np.testing.assert_array_equal(result["SUM"], A + B)
    np.testing.assert_array_equal(result["DIFFERENCE"], A - B)


def test_a_failing_request_leaves_its_neighbours_alone(fake_host):
    host = fake_host("add_sub.plugin")
    batch = [{"A": A, "B": B}, {"A": A, "B": B[:, :2]}, {"A": B, "B": A}]

    first, wrong, last = host.execute(batch, errors="return")

    assert isinstance(wrong, InvalidArgError)
    assert str(wrong) == "A has shape [1, 3] and B [1, 2]; they must be the same"
    np.testing.assert_array_equal(first["DIFFERENCE"], A - B)
    np.testing.assert_array_equal(last["DIFFERENCE"], B - A)


def test_what_is_not_asked_for_is_not_computed(fake_host, monkeypatch):
    monkeypatch.setitem(plugin.OPERATIONS, "DIFFERENCE", None)
    host = fake_host("add_sub.plugin")

    [result] = host.execute(host.request({"A": A, "B": B}, outputs=["SUM"]))

    assert list(result) == ["SUM"]


def test_in_the_real_triton(triton_core):
    core = triton_core()

    result = core.infer("add_sub", {"A": A, "B": B})
    only_sum = core.infer("add_sub", {"A": A, "B": B}, outputs=["SUM"])

    np.testing.assert_array_equal(result["SUM"], A + B)
    np.testing.assert_array_equal(result["DIFFERENCE"], A - B)
    assert list(only_sum) == ["SUM"]


def test_results_are_computed_in_the_bytes_that_triton_sends(triton_core, monkeypatch):
    addresses = []

    def add(a, b, out):
        addresses.append(out.ctypes.data)
        np.add(a, b, out=out)

    core = triton_core()
    monkeypatch.setitem(plugin.OPERATIONS, "SUM", add)

    result = core.infer("add_sub", {"A": A, "B": B}, outputs=["SUM"])

    assert addresses == [result["SUM"].ctypes.data]


def test_a_batch_of_the_real_triton_with_a_request_that_fails(triton_core):
    core = triton_core()
    config = core.model_config("add_sub")
    config["max_batch_size"] = 3  # three requests fill a batch; until then Triton waits for them
    config["dynamic_batching"]["preferred_batch_size"] = [3]
    config["dynamic_batching"]["max_queue_delay_microseconds"] = 10_000_000
    core.load("add_sub", config)

    futures = [core.infer_async("add_sub", {"A": A, "B": b}) for b in (B, B[:, :2], 2 * B)]

    np.testing.assert_array_equal(futures[0].result(20)["SUM"], A + B)
    with pytest.raises(InvalidArgError, match="they must be the same"):
        futures[1].result(20)
    np.testing.assert_array_equal(futures[2].result(20)["SUM"], A + 2 * B)
    assert executions(core) == 1


def executions(core):
    deadline = time.monotonic() + 5
    # Triton counts a batch when its answers have gone out: a moment after the test has them.
    while not core.statistics("add_sub")["execution_count"] and time.monotonic() < deadline:
        time.sleep(0.01)
    return core.statistics("add_sub")["execution_count"]
