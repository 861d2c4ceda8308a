"""Against the real tritonserver; a shell script stands in where the real one cannot be made to misbehave."""

import contextlib
import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest

from triton_backend_sdk.tools import service_ports
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.installation import ServerInstallation
from triton_backend_sdk.tools.ports import choose_ports, is_free
from triton_backend_sdk.tools.server import ServerOptions, StartError, TritonServer
from triton_backend_sdk.tools.server_errors import ModelFailure
from triton_backend_sdk.tools.server_options.checks import OptionsError
from triton_backend_sdk.tools.server_options.options import flags
from triton_backend_sdk.tools.server_options.probe import UnsupportedFlagError

ROOT = Path(__file__).parents[2]


PIPE = """
platform: "ensemble"
input [ { name: "IN" data_type: TYPE_FP32 dims: [ 1 ] } ]
output [ { name: "OUT" data_type: TYPE_FP32 dims: [ 1 ] } ]
ensemble_scheduling { step [ { model_name: "nowhere" model_version: -1
  input_map { key: "X" value: "IN" } output_map { key: "Y" value: "OUT" } } ] }
"""


@pytest.fixture
def broken(tmp_path):
    """Give a repository whose models fail: no known backend, no readable config, no version, no member."""
    lost = 'backend: "nope"'
    for name, config in {"lost": lost, "garbled": "garbage {", "bare": lost, "pipe": PIPE}.items():
        (tmp_path / "broken" / name / "1").mkdir(parents=True)
        (tmp_path / "broken" / name / "config.pbtxt").write_text(config)
    (tmp_path / "broken" / "bare" / "1").rmdir()
    return tmp_path / "broken"


@contextlib.contextmanager
def listener(port=0):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        yield taken.getsockname()[1]


def script(tmp_path, text):
    """Give a shell script as a tritonserver that has all flags."""
    binary = tmp_path / "tritonserver"
    (tmp_path / "help").write_text("".join(f"  --{flag.name}\n" for flag in flags().values()))
    binary.write_text(f'#!/bin/sh\n[ "$1" = --help ] && exec cat {tmp_path}/help\n{text}\n')
    binary.chmod(0o755)
    return ServerInstallation(binary, None, None, None, "test", None)


def gone(pid, within=5.0):
    deadline = time.monotonic() + within
    while Path(f"/proc/{pid}").exists():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_ready_inside_and_gone_after(empty):
    with TritonServer(empty) as server:
        assert server.returncode is None
        assert server.request("/v2")["name"] == "triton"
        assert server.models() == []
        with urllib.request.urlopen(server.metrics_url, timeout=5) as answer:
            assert b"nv_cpu_utilization" in answer.read()
        socket.create_connection(tuple(server.grpc_url.split(":")), timeout=5).close()
        assert "Started HTTPService" in server.log_text()
    assert server.returncode == 0
    assert gone(server.pid, within=0)


def test_given_ports_and_flags_reach_it(empty):
    ports = choose_ports({"http": None, "grpc": None, "metrics": None})
    with TritonServer(
        empty,
        http_port=ports["http"],
        grpc_port=ports["grpc"],
        metrics_port=ports["metrics"],
        options=ServerOptions(id="mine", log_verbose=7),
        log_verbose=1,
    ) as server:
        assert server.request("/v2")["name"] == "mine"
        assert server.http_url == f"127.0.0.1:{ports['http']}"
        assert server.grpc_url == f"127.0.0.1:{ports['grpc']}"
        assert server.metrics_url == f"http://127.0.0.1:{ports['metrics']}/metrics"


def test_services_can_be_left_out(empty):
    with TritonServer(empty, allow_grpc=False, allow_metrics=False) as server:
        assert server.request("/v2")["name"] == "triton"


def test_another_address_is_asked_there(empty):
    with TritonServer(empty, http_address="127.0.0.2") as server:
        assert server.http_url.startswith("127.0.0.2:")


def test_environment_is_added(tmp_path, empty):
    server = TritonServer(empty, server=script(tmp_path, "echo $MINE $HOME; exit 3"), env={"MINE": "here"})
    server.start()
    with pytest.raises(HandledError, match=r"ended before it was ready \(exit status 3\)") as caught:
        server.wait_ready()
    assert caught.value.details == (f"here {os.environ['HOME']}",)


def test_a_proxy_in_the_environment_is_not_asked(empty, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with TritonServer(empty) as server:
        assert server.models() == []


def test_a_missing_repository_is_told_in_the_servers_words(tmp_path):
    with pytest.raises(OptionsError, match=f"failed to stat file {tmp_path}/none: there is no such"):
        TritonServer(tmp_path / "none").start()


def test_models_that_fail_are_named(broken):
    server = TritonServer(broken)
    with pytest.raises(StartError, match="did not start: Internal - failed") as caught, server:
        pass
    assert (caught.value.code, caught.value.reason) == ("Internal", "failed to load all models")
    assert caught.value.returncode == 1
    assert any("failed to load all models" in line for line in caught.value.log)
    found = {failure.name: failure for failure in caught.value.failures}
    assert found["lost"] == ModelFailure("lost", 1, found["lost"].reason)
    assert found["garbled"].version is None
    assert found["bare"].version is None
    assert "ensemble pipe contains models" in found["pipe"].reason
    lines = "\n".join(caught.value.details)
    assert "failed to load 'lost' version 1: Invalid argument: unable to find backend library" in lines
    [garbled] = [line for line in caught.value.details if "Poll failed for model directory 'garbled'" in line]
    assert "garbled/config.pbtxt:1:9: " in garbled
    assert "failed to load model 'bare': at least one version must be available" in lines
    assert "--exit-on-error=false" in str(caught.value.next_step)
    assert gone(server.pid, within=0)


def test_models_that_fail_are_reported_when_the_server_lives_with_them(broken):
    server = TritonServer(broken, exit_on_error=False)
    server.start()
    try:
        bare, garbled, lost, pipe = sorted(server.wait_ready(), key=lambda model: model.name)
    finally:
        server.kill()
    assert (bare.name, bare.state) == ("bare", "")
    assert "at least one version must be available" in bare.reason
    assert "ensemble pipe contains models that are not available" in pipe.reason
    assert (lost.name, lost.version, lost.state) == ("lost", "1", "UNAVAILABLE")
    assert "unable to find backend library for backend 'nope'" in lost.reason
    assert (garbled.name, garbled.state) == ("garbled", "")
    assert "failed to read text proto from " in garbled.reason
    assert "garbled/config.pbtxt:1:9: " in garbled.reason


def test_an_unknown_option_is_named(empty):
    with pytest.raises(TypeError, match="no option 'log_verbos'; did you mean 'log_verbose'"):
        TritonServer(empty, log_verbos=1)


def test_an_option_that_the_server_lacks_is_told_before_the_start(empty, tmp_path):
    old = script(tmp_path, "exit 1")
    (tmp_path / "help").write_text((tmp_path / "help").read_text().replace("  --http-max-input-size\n", ""))
    server = TritonServer(empty, server=old, http_max_input_size=1 << 20)
    with pytest.raises(UnsupportedFlagError, match=r"has no --http-max-input-size: it came with 2\.59"):
        server.start()
    assert server.log_lines() == []


def test_options_that_are_wrong_are_told_all_at_once(empty):
    server = TritonServer(empty, load_model="a", log_format="x")
    with pytest.raises(OptionsError, match="2 of tritonserver's options are wrong") as caught:
        server.start()
    assert [fault.split()[0] for fault in caught.value.details] == ["invalid", "Error:"]


def test_a_given_port_in_use_is_named(empty):
    with (
        listener() as port,
        pytest.raises(HandledError, match=f"the grpc port {port} is in use") as caught,
        TritonServer(empty, grpc_port=port),
    ):
        pass
    assert caught.value.next_step == "take another --grpc-port"


def test_preferred_ports_are_taken_where_they_are_free_and_given_up_where_they_are_lost(empty, monkeypatch):
    ports = choose_ports(dict.fromkeys(("http", "grpc", "metrics")))
    with TritonServer(empty, prefer=ports) as server:
        assert server.http_url == f"127.0.0.1:{ports['http']}"
        with TritonServer(empty, prefer=ports) as second:
            assert second.http_url != server.http_url
        monkeypatch.setattr(
            service_ports, "is_free", lambda port, address="": True
        )  # as when it is lost just then
        with TritonServer(empty, prefer=ports) as third:
            assert third.http_url != server.http_url
    with TritonServer(empty, prefer=ports, grpc_port=ports["http"]) as fourth:
        assert fourth.grpc_url.endswith(str(ports["http"]))


@pytest.mark.parametrize("service", ["http", "grpc", "metrics"])
def test_a_free_port_that_is_lost_is_replaced(empty, service, monkeypatch):
    with listener() as port:
        chosen = iter([{**choose_ports(dict.fromkeys(("http", "grpc", "metrics"))), service: port}])
        monkeypatch.setattr(
            service_ports, "choose_ports", lambda given: next(chosen, None) or choose_ports(given)
        )
        with TritonServer(empty) as server:
            assert server.models() == []
            assert str(port) not in server.http_url + server.grpc_url + server.metrics_url


def test_another_server_that_answers_on_the_port_does_not_count(empty, monkeypatch):
    class SaysYes(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), SaysYes) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        first = {**choose_ports(dict.fromkeys(("http", "grpc", "metrics"))), "http": other.server_port}
        chosen = iter([first])
        monkeypatch.setattr(
            service_ports, "choose_ports", lambda given: next(chosen, None) or choose_ports(given)
        )
        with TritonServer(empty) as server:
            assert server.http_url != f"127.0.0.1:{other.server_port}"
            assert server.request("/v2")["name"] == "triton"
        other.shutdown()


def test_it_gives_up_when_ports_are_lost_again_and_again(empty, tmp_path):
    busy = script(tmp_path, """for flag; do case $flag in --http-port=*)
        echo "Socket '127.0.0.1:${flag#*=}' already in use";; esac; done; exit 1""")  # fmt: skip
    with pytest.raises(HandledError, match="no free port in 5 attempts"), TritonServer(empty, server=busy):
        pass


def test_a_server_that_is_not_ready_in_time_is_ended(empty, tmp_path):
    server = TritonServer(empty, server=script(tmp_path, "echo loading; exec sleep 60"))
    server.start()
    with pytest.raises(HandledError, match="not ready after 0 s") as caught:
        server.wait_ready(timeout=0.3)
    assert caught.value.details == ("loading",)
    assert server.kill() == -signal.SIGKILL


def test_sigterm_that_is_ignored_is_followed_by_sigkill(empty, tmp_path):
    stubborn = script(tmp_path, "trap '' TERM; echo up; while :; do sleep 0.1; done")
    up = threading.Event()
    server = TritonServer(empty, server=stubborn, on_line=lambda line: up.set())
    server.start()
    assert up.wait(10)
    start = time.monotonic()
    assert server.stop(timeout=0.3) == -signal.SIGKILL
    assert 0.3 <= time.monotonic() - start < 3


def test_what_it_started_is_ended_with_it(empty, tmp_path):
    lines = []
    server = TritonServer(
        empty, server=script(tmp_path, "sleep 60 & echo $!; exec sleep 60"), on_line=lines.append
    )
    server.start()
    deadline = time.monotonic() + 10
    while not lines and time.monotonic() < deadline:
        time.sleep(0.01)
    server.stop(timeout=5)
    assert gone(int(lines[0]))


def test_a_program_that_cannot_run_is_named(empty, tmp_path):
    installation = script(tmp_path, "")
    installation.binary.write_bytes(b"\x7fELF nonsense")
    with pytest.raises(HandledError, match=f"cannot run {installation.binary}: Exec format error"):
        TritonServer(empty, server=installation).__enter__()


def test_a_callback_gets_the_lines_and_may_fail(empty):
    lines = []

    def on_line(line):
        lines.append(line)
        raise RuntimeError

    with TritonServer(empty, on_line=on_line) as server:
        assert server.models() == []
    assert len(lines) == 1
    assert len(server.log_lines()) > 1


def test_an_end_of_its_own_is_told(empty):
    with TritonServer(empty) as server:
        os.kill(server.pid, signal.SIGSEGV)
        assert gone(server.pid)
        assert "signal SIGSEGV" in server.ended().message
        assert server.ended().details


def test_not_started_is_told(empty):
    with pytest.raises(HandledError, match="was not started"):
        TritonServer(empty).stop()


def test_it_outlives_the_thread_that_started_it(empty):
    server = TritonServer(empty)
    thread = threading.Thread(target=server.__enter__)
    thread.start()
    thread.join(30)
    time.sleep(0.3)
    try:
        assert server.models() == []
    finally:
        assert server.stop() == 0


def test_it_does_not_outlive_its_parent(empty):
    program = (
        "import sys, time; from pathlib import Path\n"
        "from triton_backend_sdk.tools.server import TritonServer\n"
        "server = TritonServer(Path(sys.argv[1])).__enter__()\n"
        "print(server.pid, flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(empty)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as parent:
        pid = int(parent.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        parent.kill()
        assert gone(pid)


def test_is_free():
    with listener() as port:
        assert not is_free(port)
    assert is_free(port)
