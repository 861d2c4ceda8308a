"""What BentoML's Triton Runner did wrong, measured with 1.1.11; each must not happen here.

bentoml_oracle.py replays what is said of it here against that Runner itself.
"""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest

from triton_backend_sdk.errors import InvalidArgError, NotFoundError
from triton_backend_sdk.runner import Runner, ServerLostError, StartError
from triton_backend_sdk.tools.ports import choose_ports

ONE, TWO = np.float32([1, 2]), np.float32([3, 4])


def test_swapped_keywords_do_not_swap_tensors(remote):
    """There, names were ignored: values were zipped with the metadata's order."""
    result = remote.pair.run(IN1=TWO, IN0=ONE)
    assert (result["OUT0"].tolist(), result["OUT1"].tolist()) == ([1, 2], [3, 4])


def test_foreign_names_are_refused(remote):
    """There, ``foo=, bar=`` was accepted."""
    with pytest.raises(TypeError, match="no input or option 'foo'"):
        remote.pair.run(foo=ONE, bar=TWO)


def test_position_and_name_go_together(remote):
    """There, an assertion said: either the ones or the others."""
    assert remote.pair.run(ONE, IN1=TWO)["OUT1"].tolist() == [3, 4]


def test_an_optional_input_may_be_left_out(remote):
    """There, all inputs were wanted: "(2) does not match the number of inputs (1)"."""
    assert remote.maybe.run(ONE)["OUT0"].tolist() == [1, 2]


def test_the_numbers_in_the_error_are_not_swapped(remote):
    """There: "Number of provided arguments (2) does not match the number of inputs (1)" for one of two."""
    with pytest.raises(TypeError, match=r"1 of 2 were given"):
        remote.pair.run(ONE)


def test_checks_survive_python_without_assertions(started):
    """There, they were assert statements."""
    program = f"""
    from triton_backend_sdk.runner import Runner
    try:
        Runner(url={started.url!r}).pair.run([1, 2], IN0=[1, 2])
    except TypeError as error:
        print(error)
    """
    command = [sys.executable, "-O", "-c", textwrap.dedent(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "given twice" in done.stdout


def test_lists_are_taken(remote):
    """There: NotImplementedError, "DefaultContainer doesn't support converting to Triton payload."."""
    assert remote.pair.run([1, 2], [3, 4])["OUT1"].tolist() == [3, 4]


def test_a_wrong_dtype_is_found_before_it_is_sent(remote):
    """There, the server found it; the guide's own ``np.zeros`` examples failed so."""
    sent = remote.get_inference_statistics("pair")["model_stats"][0]["inference_stats"]["fail"]["count"]
    with pytest.raises(TypeError, match="got float64, the model wants FP32"):
        remote.pair.run(np.zeros(2), np.zeros(2))
    found = remote.get_inference_statistics("pair")["model_stats"][0]["inference_stats"]["fail"]["count"]
    assert found == sent


def test_one_remote_call_per_request(remote, monkeypatch):
    """There, each call asked for the metadata first."""
    remote.pair.run(ONE, TWO)
    transport = remote._core.backing.transport()
    monkeypatch.setattr(transport, "call", None)
    assert remote.pair.run(ONE, TWO)["OUT0"].tolist() == [1, 2]


def test_not_all_outputs_unless_wanted(remote):
    """There, every call asked for all."""
    assert list(remote.pair.run(ONE, TWO, outputs=["OUT1"])) == ["OUT1"]


def test_arrays_work_with_todays_tritonclient(remote):
    """There: "module 'tritonclient.grpc.aio' has no attribute 'np_to_triton_dtype'"."""
    assert remote.pair.run(ONE, TWO)["OUT0"].dtype == np.float32


def test_get_output_as_json_returns_something(remote):
    """There, and in tritonclient, None."""
    found = remote.pair.run(ONE, TWO).get_output("OUT0", as_json=True)
    assert found == {"name": "OUT0", "datatype": "FP32", "shape": [2], "data": [1.0, 2.0]}


def test_streams(remote):
    """There: NotImplementedError."""
    assert [result["OUT"].item() for result in remote.many.stream([3])] == [0, 1, 2]


def test_run_outside_of_a_worker_thread(remote):
    """There: NoEventLoopError in any thread that anyio had not made."""
    found = []
    thread = threading.Thread(target=lambda: found.append(remote.pair.run(ONE, TWO)["OUT0"].tolist()))
    thread.start()
    thread.join()
    assert found == [[1, 2]]


def test_async_errors_are_raised_and_can_be_caught(remote):
    """There, the wrapper that was to log them never saw those of coroutines."""

    async def fail():
        with pytest.raises(InvalidArgError, match="asked to fail"):
            await remote.pair.async_run(ONE, TWO, parameters={"fail": True})

    asyncio.run(fail())


def test_the_callers_list_is_not_changed(repository):
    """There, the flags were appended to it."""
    given = ["--log-verbose=1"]
    Runner(repository, cli_args=given)
    assert given == ["--log-verbose=1"]


def test_an_unknown_model_in_the_servers_words(remote):
    with pytest.raises(NotFoundError, match="Request for unknown model: 'nosuch' is not found"):
        remote.nosuch.run(ONE)


def test_a_model_can_be_named_before_the_server_is_there(repository, caplog):
    """There: AttributeError, and a warning that it does not work in development."""
    with caplog.at_level(logging.WARNING):
        assert Runner(repository).pair.name == "pair"
    assert caplog.records == []


def test_it_works_where_it_is_written(repository, backends):
    """There, only inside `bentoml serve`: init_local() warned that it does nothing, init_client() worked once."""
    with Runner(repository, backend_directory=backends, name="A Name!") as runner:
        pid = runner.start().server.pid
        assert runner.start().server.pid == pid
        assert runner.name == "A Name!"  # there, it was made lower-case, or a ValueError


def test_a_server_that_is_not_there_says_so():
    """There, all exceptions were swallowed for the whole time given, then it was False."""
    [port] = choose_ports({"it": None}).values()
    for protocol in ("grpc", "http"):
        with (
            Runner(url=f"{protocol}://127.0.0.1:{port}") as runner,
            pytest.raises(ServerLostError, match="refused"),
        ):
            runner.is_server_ready()


def test_a_machine_without_tritonserver(repository, cache):
    """There: "'tritonserver' is not found on PATH"; here it says what brings one."""
    with pytest.raises(StartError, match=r"no tritonserver found; looked at PATH.*tbsdk server install"):
        Runner(repository).start()


@pytest.mark.parametrize("way", ["field", "cli_args", "triton_options"])
def test_a_port_that_is_given_is_the_port(repository, backends, way):
    """There, a reserved one came after it on the command line and won; as an option it was an error."""
    [port] = choose_ports({"it": None}).values()
    given = {
        "field": {"grpc_port": port},
        "cli_args": {"cli_args": [f"--grpc-port={port}"]},
        "triton_options": {"triton_options": [f"grpc_port={port}"]},
    }[way]
    with Runner(repository, backend_directory=backends, load_model=["rows"], **given) as runner:
        assert runner.url == f"grpc://127.0.0.1:{port}"  # and loopback: there, it was 0.0.0.0


def test_two_runners_in_one_process(started, repository, backends):
    """There, each server bound port 8002, so the second one died."""
    with Runner(repository, backend_directory=backends) as other:
        assert other.server.metrics_url != started.server.metrics_url
        assert other.pair.run(ONE, TWO)["OUT0"].tolist() == started.pair.run(ONE, TWO)["OUT0"].tolist()


def test_load_and_unload_work_as_it_is_started(started):
    """There: "[503] explicit model load / unload is not allowed if polling is enabled"."""
    started.unload_model("grow")
    started.load_model("grow")
    assert started.is_model_ready("grow")
