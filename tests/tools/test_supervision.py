"""What befalls a process and who starts it: death, deafness, floods, misuse. The server is the real one."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.tools.test_server import gone, listener, script
from triton_backend_sdk.tools import service_ports
from triton_backend_sdk.tools.endpoints import GrpcEndpoint, HttpEndpoint
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.installation import ServerInstallation
from triton_backend_sdk.tools.ports import choose_ports
from triton_backend_sdk.tools.process import BoundProcess, output_of
from triton_backend_sdk.tools.server import StartError, TritonServer
from triton_backend_sdk.tools.server_options import probe

ROOT = Path(__file__).parents[2]
SERVICES = ("http", "grpc", "metrics")


def lose_the_first(monkeypatch, service, port):
    """Let the first ports that are chosen have one that is taken."""
    chosen = iter([{**choose_ports(dict.fromkeys(SERVICES)), service: port}])
    monkeypatch.setattr(
        service_ports, "choose_ports", lambda given: next(chosen, None) or choose_ports(given)
    )


# --- ends


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_death_during_the_start_is_told(empty, number):
    server = TritonServer(empty)
    server.start()
    os.kill(server.pid, number)
    with pytest.raises(StartError, match=f"ended before it was ready \\(signal {number.name}\\)") as caught:
        server.wait_ready()
    assert caught.value.returncode == -number


def test_a_death_during_a_call_is_told_at_once(empty):
    with TritonServer(empty) as server:
        os.kill(server.pid, signal.SIGSTOP)  # so that the call is under way
        threading.Timer(0.3, os.kill, (server.pid, signal.SIGKILL)).start()
        begin = time.monotonic()
        with pytest.raises(HandledError, match=r"ended by itself \(signal SIGKILL\)") as caught:
            server.request("/v2", timeout=60)
        assert time.monotonic() - begin < 20
        assert any("Started HTTPService" in line for line in caught.value.details)
    assert "ended by itself" in server.ended().message  # though it was stopped, too, since


def test_what_answers_on_its_port_later_is_not_asked(empty):
    server = TritonServer(empty)
    with server:
        port = int(server.http_url.rpartition(":")[2])
    with TritonServer(empty, http_port=port):
        for ask in (server.models, lambda: server.request("/v2")):
            with pytest.raises(HandledError, match=r"tritonserver was stopped \(exit status 0\)"):
                ask()
    assert server.stop() == 0  # twice
    assert server.kill() == 0
    assert server.returncode == 0


@pytest.mark.parametrize("endpoint", [HttpEndpoint, GrpcEndpoint])
def test_a_load_without_an_answer_is_told_not_raised(endpoint):
    [port] = choose_ports({"it": None}).values()
    assert "refused" in endpoint(f"127.0.0.1:{port}").load("model")


def test_a_server_that_does_not_listen_to_sigterm_is_killed(empty):
    server = TritonServer(empty)
    with server:
        os.kill(server.pid, signal.SIGSTOP)
        assert server.stop(timeout=0.3) == -signal.SIGKILL
    assert gone(server.pid, within=0)


def test_a_process_that_the_kernel_holds_is_told(tmp_path, monkeypatch):
    process = BoundProcess(["/bin/sleep", "60"])
    monkeypatch.setattr("triton_backend_sdk.tools.process._KILLED_S", 0.2)
    monkeypatch.setattr(os, "killpg", lambda *given: None)  # it does not end
    with pytest.raises(HandledError, match=f"process {process.pid} was killed, but is still there after 0 s"):
        process.kill()
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait(20) == -signal.SIGKILL


def test_a_stop_looks_after_new_lines_only_and_says_that_it_waited_in_vain(tmp_path):
    stubborn = script(tmp_path, "trap 'echo told' TERM; echo up; while :; do sleep 0.1; done")
    up, looks = threading.Event(), []
    process = BoundProcess([str(stubborn.binary)], on_line=lambda line: up.set())
    assert up.wait(20)
    assert process.stop(1.5, lambda: looks.append(process.lines())) == -signal.SIGKILL
    assert len(looks) <= 3  # at first, after the line, and at the end
    assert looks[-1] == ["up", "told"]
    assert process.stop(1.5, lambda: True) == 0


def test_ctrl_c_while_it_stops_ends_it_at_once(tmp_path):
    stubborn = script(tmp_path, "trap '' TERM; echo up; while :; do sleep 0.1; done")
    up = threading.Event()
    process = BoundProcess([str(stubborn.binary)], on_line=lambda line: up.set())
    assert up.wait(20)
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        process.stop(60)
    assert process.poll() == -signal.SIGKILL


def test_signals_that_the_parent_blocks_reach_it(empty):
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    try:
        with TritonServer(empty) as server:
            pass
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert server.returncode == 0


@pytest.mark.parametrize("wait", [0.0, 0.05, 0.3])
def test_a_parent_that_is_killed_while_it_loads_takes_it_along(empty, wait):
    program = (
        "import sys, time; from triton_backend_sdk.tools.server import TritonServer\n"
        "server = TritonServer(sys.argv[1]); server.start(); print(server.pid, flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(empty)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as parent:
        pid = int(parent.stdout.readline())
        time.sleep(wait)  # another moment of its start each time
        parent.kill()
    assert gone(pid)


# --- output


def test_a_flood_of_lines_is_drained(empty, tmp_path):
    server = TritonServer(empty, server=script(tmp_path, "seq 100000; exit 3"))
    server.start()
    with pytest.raises(StartError, match="exit status 3") as caught:
        server.wait_ready()
    assert caught.value.log[-1] == "100000"
    assert len(caught.value.log) == 5000


def test_a_log_file_is_output_too(broken, tmp_path):
    file = tmp_path / "server.log"
    file.write_text("E1 x.cc:1] \"failed to load 'older' version 1: Internal: of another day\"\n")
    with pytest.raises(StartError) as caught:
        TritonServer(broken, log_file=file).__enter__()
    assert [failure.name for failure in caught.value.failures] == ["lost"]


@pytest.mark.parametrize("fields", [{"log_file": "server.log"}, {"log_error": False}], ids=["file", "quiet"])
def test_a_port_that_is_lost_is_replaced_though_the_output_is_silent(empty, fields, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with listener() as port:
        lose_the_first(monkeypatch, "http", port)
        with TritonServer(empty, **fields) as server:
            assert server.models() == []


# --- what is started


def test_a_program_whose_library_is_missing_is_told_with_the_mend(empty, tmp_path):
    binary = tmp_path / "tritonserver"
    library = tmp_path / "libgone.so"
    for source, target, flags in (
        ("int answer(void) { return 0; }", library, ("-shared", "-fPIC")),
        ("int answer(void); int main(void) { return answer(); }", binary, (f"-L{tmp_path}", "-lgone")),
    ):
        subprocess.run(
            ["gcc", "-x", "c", "-", "-o", target, *flags], input=source, text=True, check=True, timeout=60
        )
    library.rename(tmp_path / "elsewhere.so")
    server = TritonServer(empty, server=ServerInstallation(binary, None, None, None, "test", None))
    with pytest.raises(HandledError, match=r"names no flags \(exit status 127\)") as caught:
        server.start()
    assert "libgone.so" in caught.value.details[0]
    assert "LD_LIBRARY_PATH" in caught.value.next_step


def test_a_program_that_hangs_at_help_is_ended(tmp_path, monkeypatch):
    binary = tmp_path / "tritonserver"
    binary.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nsleep 60\n")
    binary.chmod(0o755)
    monkeypatch.setattr(probe, "HELP_LIMIT_S", 1.0)
    with pytest.raises(HandledError, match="--help did not end in 1 s"):
        probe.known_flags(binary)
    assert gone(int((tmp_path / "pid").read_text()))


def test_the_loader_is_told_nothing_before_the_program(tmp_path):
    """The Python that starts it would load the libraries too, and may not even start with them."""
    (tmp_path / "libc.so.6").write_text("no library")
    env = {"LD_LIBRARY_PATH": str(tmp_path), "MINE": "here"}
    status, lines = output_of(["/bin/sh", "-c", "echo $MINE"], env, 30)
    assert status == 127
    assert lines[0].startswith("/bin/sh: error while loading shared libraries: ")
    assert output_of(["/bin/sh", "-c", "echo $MINE"], {"MINE": "here"}, 30) == (0, ["here"])


# --- who starts it, and how often


def test_a_server_that_runs_is_not_started_again(empty):
    with TritonServer(empty) as server:
        pid = server.pid
        with pytest.raises(HandledError, match="runs already"):
            server.start()
        assert server.pid == pid
        assert server.models() == []


def test_a_server_can_be_started_again_and_again(empty, monkeypatch):
    server = TritonServer(empty)
    pids = set()
    for _ in range(3):
        with listener() as port, monkeypatch.context() as patch:
            patch.setattr(service_ports, "_ATTEMPTS", 2)  # at each start
            lose_the_first(patch, "http", port)
            with server:
                pids.add(server.pid)
    assert len(pids) == 3
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_threads_that_wait_for_one_server_start_it_once(empty, monkeypatch):
    server = TritonServer(empty)
    with listener() as port:
        lose_the_first(monkeypatch, "grpc", port)
        server.start()
        found = []
        threads = [threading.Thread(target=lambda: found.append(server.wait_ready())) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert found == [[]] * 4
    assert server.stop() == 0


def test_a_server_that_was_stopped_is_not_started_again_by_who_waits_for_it(empty, monkeypatch):
    server = TritonServer(empty)
    with listener() as port:
        lose_the_first(monkeypatch, "http", port)
        server.start()
        while server.returncode is None:
            time.sleep(0.01)
        pid = server.pid
        server.stop()
        with pytest.raises(HandledError, match="already in use"):
            server.wait_ready()
    assert server.pid == pid


def test_threads_that_start_one_server_start_one(empty):
    server = TritonServer(empty)
    said = []

    def start():
        try:
            server.start()
        except HandledError as error:
            said.append(error.message)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert said == ["this tritonserver runs already"] * 3
    server.wait_ready()
    assert server.stop() == 0


def test_it_starts_where_an_event_loop_runs(empty):
    """As in a notebook."""

    async def cell():
        with TritonServer(empty) as server:
            return server.models()

    assert asyncio.run(cell()) == []


def test_a_free_port_is_never_a_given_one(monkeypatch):
    given = choose_ports({"http": None})["http"]
    offered = iter([given])  # the kernel may offer what is given, as nobody has it yet
    bind = socket.socket.bind
    monkeypatch.setattr(socket.socket, "bind", lambda self, at: bind(self, (at[0], next(offered, 0))))
    ports = choose_ports({"http": given, "grpc": None, "metrics": None})
    assert len(set(ports.values())) == 3


def test_vertex_ai_says_where_the_models_are_and_on_which_port(empty, monkeypatch):
    port = choose_ports({"vertex": None})["vertex"]
    env = {"AIP_MODE": "PREDICTION", "AIP_STORAGE_URI": str(empty), "AIP_HTTP_PORT": str(port)}
    server = TritonServer(allow_vertex_ai=True, env=env)
    assert server.options.model_repository == [empty]
    assert server.options.vertex_ai_port == port
    assert TritonServer(empty, env={**env, "AIP_STORAGE_URI": "gs://other"}).options.allow_vertex_ai is None
