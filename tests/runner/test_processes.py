"""Forks, pickles, crashes among many threads: what happens to a Runner when processes do what they do."""

from __future__ import annotations

import copy
import errno
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

from tests.runner.conftest import wait_for
from triton_backend_sdk.errors import CancelledError, InvalidArgError, TritonError, UnavailableError
from triton_backend_sdk.runner import Restart, Runner, ServerEndedError, StartError

ROW = np.arange(3, dtype=np.float32)
LARGE = np.zeros(1 << 16, np.float32)


def run(program, **given):
    program = "".join(f"{name} = {value!r}\n" for name, value in given.items()) + textwrap.dedent(program)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "[0.0]"),
        ({"protocol": "http"}, "[0.0]"),
        ({"shared_memory": True}, "[0.0]"),
        ({"in_process": True}, "NotSupportedError"),
    ],
    ids=str,
)
def test_a_forked_child_leaves_the_parents_server_alone(repository, few, options, expected):
    program = """
    import os, sys
    from triton_backend_sdk.runner import Runner
    with Runner(repository, **options) as runner:
        print(runner.flat.run([0.0])["OUT"].tolist(), flush=True)
        child = os.fork()
        if not child:
            try:
                print(runner.flat.run([0.0])["OUT"].tolist(), flush=True)
            except NotImplementedError as error:
                print(type(error).__name__, flush=True)
            sys.exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        print(runner.flat.run([0.0])["OUT"].tolist(), runner.restarts, bool(runner.log_lines()))
    """
    given = few | {"backend_directory": str(few["backend_directory"])} | options
    told = run(program, repository=str(repository), options=given)
    assert told.splitlines() == ["[0.0]", expected, "[0.0] 0 True"]


def test_children_of_a_pool_have_connections_of_their_own(started):
    program = """
    import multiprocessing
    from triton_backend_sdk.runner import Runner
    runner = Runner(url=url)
    runner.flat.run([0])
    def ask(number):
        return runner.flat.run([number])["OUT"].item()
    with multiprocessing.get_context("fork").Pool(3) as pool:
        print(pool.map(ask, range(30), 1) == list(range(30)))
    """
    assert run(program, url=f"http://{started.server.http_url}") == "True\n"


def test_a_server_lives_longer_than_the_thread_that_started_it(repository, few):
    runner = Runner(repository, **few, restart=Restart(limit=0))
    thread = threading.Thread(target=runner.start)
    thread.start()
    thread.join()
    time.sleep(0.2)  # the kernel would have told the server by now
    assert runner.flat.run(ROW)["OUT"].tolist() == ROW.tolist()
    runner.close()


@pytest.mark.parametrize("options", [{}, {"protocol": "http"}, {"shared_memory": True}], ids=str)
def test_a_crash_reaches_all_threads_and_streams(repository, few, options):
    errors, waiting = [], threading.Barrier(7)

    def ask(call):
        waiting.wait()
        try:
            call()
        except ServerEndedError as error:
            errors.append(error)

    with Runner(repository, **few, restart=Restart(pause=0.01), **options) as runner:
        runner.flat.run(LARGE)
        runner.flat.run(LARGE)
        slow = {"parameters": {"sleep": 60.0}, "client_timeout": 50}
        calls = [lambda: runner.flat.run(LARGE, **slow)] * 5
        calls.append(lambda: list(runner.many.stream([9], **slow)))
        threads = [threading.Thread(target=ask, args=(call,)) for call in calls]
        for thread in threads:
            thread.start()
        waiting.wait()
        time.sleep(0.3)  # on their way
        began = time.monotonic()
        os.kill(runner.server.pid, signal.SIGSEGV)
        for thread in threads:
            thread.join()
        assert time.monotonic() - began < 20
        assert [error.returncode for error in errors] == [-signal.SIGSEGV] * 6
        assert all("Signal (11) received." in error.lines for error in errors)
        assert len({id(error) for error in errors}) == 6  # each has its own traceback
        assert runner.flat.run(LARGE)["OUT"].size == LARGE.size


def test_a_kernel_that_does_not_tell_of_ends(repository, few, monkeypatch):
    def refuse(pid):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    with Runner(repository, **few) as runner:
        os.kill(runner.server.pid, signal.SIGKILL)
        wait_for(lambda: runner.restarts == 1, seconds=60)
        server = runner.server
        assert runner.flat.run(ROW)["OUT"].tolist() == ROW.tolist()
    assert server.returncode == 0


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_crash_in_the_middle_of_a_stream(repository, few, protocol):
    with Runner(repository, **few, protocol=protocol) as runner:
        stream = runner.many.stream([1000], parameters={"sleep": 0.05})
        assert next(stream)["OUT"].tolist() == [0]
        os.kill(runner.server.pid, signal.SIGKILL)
        with pytest.raises(ServerEndedError, match="signal SIGKILL"):
            list(stream)


@pytest.mark.parametrize("options", [{}, {"protocol": "http"}, {"in_process": True}], ids=str)
def test_closing_does_not_wait_for_streams(repository, few, options):
    with Runner(repository, **few, **options) as runner:
        stream = runner.many.stream([1000], parameters={"sleep": 0.05})
        next(stream)
        began = time.monotonic()
    assert time.monotonic() - began < 20  # not 50, and not the exit timeout
    with pytest.raises(TritonError):
        list(stream)


def test_a_closed_runner(repository, few):
    with Runner(repository, **few) as runner:
        pass
    for call in (
        lambda: runner.flat.run(ROW),
        lambda: runner.many.stream([1]),
        lambda: runner.stream_infer([]),
        runner.get_server_metadata,
    ):
        with pytest.raises((InvalidArgError, CancelledError, UnavailableError), match="closed"):
            call()


def test_results_and_errors_can_be_pickled(runner):
    result = runner.pair.run([1, 2], [3, 4], request_id="mine")
    for again in (pickle.loads(pickle.dumps(result)), copy.deepcopy(result)):
        assert again.get_response(as_json=True) == result.get_response(as_json=True)
        assert again["OUT1"].tolist() == [3, 4]
    for what in (runner, runner.flat):
        with pytest.raises(TypeError, match="a Runner cannot be pickled: make one in the other process"):
            pickle.dumps(what)
    ended = pickle.loads(pickle.dumps(ServerEndedError("it ended", -9, ["one", "two"])))
    assert (str(ended), ended.returncode, ended.lines) == (
        "it ended; its last lines:\n  one\n  two", -9, ("one", "two"),
    )  # fmt: skip
    start = pickle.loads(pickle.dumps(StartError("it did not", "mend it", details=["because"])))
    assert str(start) == "it did not (mend it)\n  because"


def test_a_wrong_request_of_a_stream_raises_what_is_wrong(started):
    with pytest.raises(TypeError, match="model_nam"):
        list(started.stream_infer([{"model_nam": "many"}]))
