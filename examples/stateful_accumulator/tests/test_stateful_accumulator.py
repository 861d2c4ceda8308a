"""Sums are kept by sequence, by Triton."""

import numpy as np
import pytest

from triton_backend_sdk import InvalidArgError


def values(*numbers):
    return {"VALUES": np.float64(numbers)}


def test_a_sum_goes_on(fake_host):
    host = fake_host("stateful_accumulator.plugin")
    host.execute(host.request(values(1, 2), correlation_id=7, sequence_start=True))
    [result] = host.execute(host.request(values(6), correlation_id=7))

    assert (result["SUM"].item(), result["MEAN"].item()) == (9, 3)
    assert host.states(7)["TOTAL_OUT"].tolist() == [9, 3]


def test_it_starts_from_a_state_of_the_tests_own(fake_host):
    host = fake_host("stateful_accumulator.plugin")
    request = host.request(values(10), correlation_id=7, states={"TOTAL_IN": np.float64([90, 9])})

    assert host.execute(request)[0]["MEAN"].item() == 10


def test_clients_do_not_mix_in_the_real_triton(triton_core):
    core = triton_core()

    def send(client, number, **flags):
        result = core.infer("stateful_accumulator", values(number), correlation_id=client, **flags)
        return result["SUM"].item(), result["MEAN"].item()

    for client in (1, "two", 3):
        assert send(client, 10, sequence_start=True) == (10, 10)
    assert send("two", 20) == (30, 15)
    with pytest.raises(InvalidArgError, match="finite"):
        send("two", np.nan)
    assert send("two", 0, sequence_end=True) == (30, 10)
    for client in (1, 3):
        assert send(client, 2, sequence_end=True) == (12, 6)
