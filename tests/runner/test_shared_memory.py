"""Large tensors through system shared memory."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from tests.runner.conftest import wait_for
from triton_backend_sdk.errors import InvalidArgError, UnavailableError
from triton_backend_sdk.runner import Runner, regions, shared_memory
from triton_backend_sdk.runner.regions import Pool, Region

LARGE = np.arange(1 << 16, dtype=np.float32)


@pytest.fixture
def shared(remote):
    """A Runner of each protocol that uses shared memory, on the server that runs."""
    runner = Runner(url=remote.url, shared_memory=True)
    yield runner
    runner.close()


def files():
    return sorted(path.name for path in Path("/dev/shm").glob(f"{regions.PREFIX}{os.getpid()}-*"))


def names(runner):
    return [row["name"] for row in runner.get_system_shared_memory_status()]


def test_large_tensors_go_there_and_come_from_there(shared, remote):
    for number in range(4):
        given = LARGE + number
        result = shared.flat.run(given)
        np.testing.assert_array_equal(result["OUT"], given)
        assert result["OUT"].flags.writeable == (number > 0)  # of the first, the size was not known
        result = None
    assert len(files()) == len(names(remote)) == 2  # one for inputs, one for outputs: used again
    shared.close()
    assert (files(), names(remote)) == ([], [])


def test_results_keep_their_memory(shared):
    shared.flat.run(LARGE)
    results = [shared.flat.run(LARGE + number) for number in range(3)]
    row = results[0]["OUT"][1:3]
    results[0] = None
    gc.collect()
    for number in range(3, 6):
        shared.flat.run(LARGE + number)
    assert row.tolist() == [1, 2]
    for number, result in enumerate(results[1:], 1):
        np.testing.assert_array_equal(result["OUT"], LARGE + number)
    shared.close()
    assert row.tolist() == [1, 2]


def test_small_tensors_stay_in_the_message(shared, remote):
    shared.flat.run(np.float32([1]))
    assert names(remote) == []


def test_several_tensors_and_texts(shared):
    for _ in range(3):
        result = shared.maybe.run(LARGE, LARGE * 2)
        assert (result["OUT0"][-1], result["OUT1"][-1]) == (LARGE[-1], LARGE[-1] * 2)
        assert list(shared.maybe.run(LARGE, LARGE, outputs=["OUT1"])) == ["OUT1"]
    long = b"x" * 100_000
    assert shared.texts.run([[long]])["OUT"].tolist() == [[long]]


def test_a_large_and_a_small_one(shared):
    for number in range(3):
        result = shared.maybe.run(LARGE, np.float32([number]))
        assert (result["OUT0"].size, result["OUT1"].tolist()) == (LARGE.size, [number])


def test_an_output_larger_than_before_is_sent_again_without(shared):
    for size in (20_000, 20_000, 30_000, 40_000, 10):
        result = shared.grow.run([size])["OUT"]
        assert (result.size, set(result.tolist())) == (size, {7.0})


def test_a_smaller_one_fits(shared):
    for size in (40_000, 30_000):
        assert shared.grow.run([size])["OUT"].size == size


def test_errors_give_the_regions_back(shared, remote):
    for _ in range(3):
        with pytest.raises(InvalidArgError, match="asked to fail"):
            shared.flat.run(LARGE, parameters={"fail": True})
    assert len(names(remote)) == 1


@pytest.mark.parametrize("what", ["compression", "room"])
def test_a_request_that_cannot_be_sent_gives_its_region_back(shared, remote, monkeypatch, what):
    shared.flat.run(LARGE)  # the next one wants a region for its output, too
    if what == "compression":
        with pytest.raises(ValueError, match="compression 'zip' does not exist"):
            shared.flat.run(LARGE, compression="zip")
        assert len(names(remote)) == 2
    else:
        with monkeypatch.context() as short:
            short.setattr(regions.os, "posix_fallocate", full)
            with pytest.raises(UnavailableError, match="no room"):
                shared.flat.run(LARGE)
    shared.flat.run(LARGE)
    assert len(names(remote)) == 2


def test_kinds_of_requests_without_an_end_are_forgotten(shared, monkeypatch):
    monkeypatch.setattr(shared_memory, "_MOST_KINDS", 3)
    for size in range(20):
        assert shared.flat.run(np.zeros(size + 1, np.float32))["OUT"].size == size + 1
    assert len(shared._core.backing.transport().learnt) <= 3


def test_a_region_that_the_server_may_still_use_is_not_used_again(shared, remote):
    with pytest.raises(TimeoutError):
        shared.flat.run(LARGE, parameters={"sleep": 0.5}, client_timeout=0.1)
    shared.flat.run(LARGE)
    assert len(names(remote)) == 2


@pytest.mark.parametrize("how", ["run", "async_run"])
def test_a_region_is_let_go_once_the_server_has_no_use_for_it(shared, remote, how):
    for _ in range(2):
        shared.flat.run(LARGE)
    mine = set(files())
    given = {"parameters": {"sleep": 0.5}}
    if how == "run":
        with pytest.raises(TimeoutError):
            shared.flat.run(LARGE, client_timeout=0.1, **given)
    else:
        with pytest.raises(asyncio.TimeoutError):
            asyncio.run(asyncio.wait_for(shared.flat.async_run(LARGE, **given), 0.1))
    assert mine <= set(files())
    sizes = iter(range(1, 100))

    def are_gone():
        number = next(sizes)
        shared.changing.run(np.zeros(LARGE.size * number, np.float32))  # wants a region of its own
        time.sleep(0.05)
        return not mine & {*files(), *names(remote)}

    wait_for(are_gone)


def test_a_server_that_would_take_memory_away_from_a_request_is_not_asked(shared, remote, monkeypatch):
    monkeypatch.setattr(shared_memory, "_FIRST_SAFE", (99, 0))
    with pytest.raises(TimeoutError):
        shared.flat.run(LARGE, parameters={"sleep": 0.2}, client_timeout=0.1)
    [mine] = files()
    remote.flat.run(LARGE)  # after it
    for size in (1, 2):
        shared.flat.run(np.zeros(LARGE.size * size, np.float32))
    assert mine in files()
    assert mine in names(remote)


def test_coroutines_use_it_too(shared):
    async def several():
        results = await asyncio.gather(*(shared.flat.async_run(LARGE + number) for number in range(6)))
        return [result["OUT"][0] for result in results]

    for _ in range(2):
        assert asyncio.run(several()) == list(range(6))


def test_a_restart_registers_anew(repository, few):
    with Runner(repository, **few, shared_memory=True) as runner:
        for _ in range(2):
            runner.flat.run(LARGE)
        with pytest.raises(UnavailableError, match="ended by itself"):
            runner.flat.run(LARGE, parameters={"crash": True})
        for _ in range(2):
            np.testing.assert_array_equal(runner.flat.run(LARGE)["OUT"], LARGE)
    assert files() == []


def full(descriptor, offset, size):
    raise OSError(28, "No space left on device")


def test_no_room(monkeypatch):
    monkeypatch.setattr(regions.os, "posix_fallocate", full)
    with pytest.raises(
        UnavailableError, match=r"/dev/shm has no room for 1024 KiB more, \d+ MiB are free.*--shm-size"
    ):
        Region(1 << 20)
    assert files() == []


def telling(told, used=()):
    """What tells a server of regions, one that refuses to forget what is used."""

    def let_go(region):
        if region.name in used:
            raise UnavailableError("in use")
        told.remove(region.name)

    return lambda region: told.append(region.name), lambda region: told.remove(region.name), let_go


def test_what_the_server_uses_still_is_asked_for_again():
    told, used = [], []
    pool = Pool(*telling(told, used))
    regions_ = [pool.take(1) for _ in range(3)]
    for region in regions_:
        pool.give_up(region)
    first, second, third = used[:] = [region.name for region in regions_]
    pool.take(1)
    assert {first, second, third} < set(told)
    used.remove(third)
    used.remove(second)  # the next to be asked for
    pool.take(1)
    assert second not in told
    assert third not in told
    assert first in told
    assert first in files()
    pool.close()
    late = pool.take(1)
    pool.give_up(late)
    assert files() == []


def test_a_server_that_has_just_answered_is_told_again_to_forget():
    told, refusals = [], ["in use", "in use"]

    def forget(region):
        if refusals:
            raise UnavailableError(refusals.pop())
        told.remove(region.name)

    pool = Pool(lambda region: told.append(region.name), forget, forget)
    pool.give_back(pool.take(1))
    pool.close()
    assert (told, refusals, files()) == ([], [], [])


def test_a_pool_uses_regions_again_by_size():
    told = []
    pool = Pool(*telling(told))
    one, two = pool.take(100), pool.take(100_000)
    assert (one.size, two.size) == (1 << 16, 1 << 17)
    pool.give_back(one)
    assert pool.take(1) is one
    late = pool.take(1)
    pool.give_back(two)
    pool.close()
    assert told == []
    pool.give_back(late)
    assert files() == []


def test_room_that_is_short_is_found_among_idle_regions(monkeypatch):
    told, room = [], [3 << 20]
    pool = Pool(*telling(told))
    real = regions.os.posix_fallocate

    def allocate(descriptor, offset, size):
        if size + len(told) * (1 << 20) > room[0]:
            raise OSError(28, "No space left on device")
        real(descriptor, offset, size)

    monkeypatch.setattr(regions.os, "posix_fallocate", allocate)
    one, two = pool.take(1 << 20), pool.take(1 << 20)
    pool.give_back(one)
    pool.give_back(two)
    assert pool.take((1 << 20) + 1).size < 5 << 18  # a quarter more at most
    assert pool.take(2 << 20).size == 2 << 20
    pool.close()
    assert (told, files()) == ([], [])


def test_what_a_killed_process_left_is_swept(started):
    program = f"""
    import os, signal
    import numpy as np
    from triton_backend_sdk.runner import Runner
    runner = Runner(url={started.url!r}, shared_memory=True)
    for _ in range(2):
        runner.flat.run(np.zeros(1 << 16, np.float32))
    print(os.getpid(), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    left = f"{regions.PREFIX}{int(done.stdout)}-"
    assert [name for name in names(started) if name.startswith(left)]
    alive = Runner(url=started.url, shared_memory=True)
    try:
        for _ in range(2):
            alive.flat.run(LARGE)
        assert not [name for name in names(started) if name.startswith(left)]
        assert not list(Path("/dev/shm").glob(f"{left}*"))
        other = Runner(url=started.url, shared_memory=True)
        other.flat.run(LARGE)
        other.close()
        assert len(names(started)) == len(files()) == 2  # what a living one has stays
        np.testing.assert_array_equal(alive.flat.run(LARGE)["OUT"], LARGE)
    finally:
        alive.close()
