"""What tritonserver does that nobody expects, and that a launcher has to keep from its users."""

import os
import socket
import threading
import time
import urllib.error
from pathlib import Path

import pytest

from triton_backend_sdk.tools.client import model_metadata
from triton_backend_sdk.tools.endpoints import HttpEndpoint, get_text
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.ports import choose_ports
from triton_backend_sdk.tools.process import BoundProcess
from triton_backend_sdk.tools.server import ServerOptions, StartError, TritonServer, find_server
from triton_backend_sdk.tools.server_options.checks import OptionsError, faults
from triton_backend_sdk.tools.server_options.values import InvalidOptionError


@pytest.mark.parametrize(
    "flag", ["--http-port=18110x", "--metrics-interval-ms=1.5", "--exit-timeout-secs=3s"]
)
def test_numbers_that_it_would_cut_short_are_refused(flag):
    with pytest.raises(InvalidOptionError, match="tritonserver would take it for"):
        ServerOptions.from_argv([flag])


def test_restricted_apis_are_written_as_the_parser_wants_them_not_as_the_help_says(empty):
    options = ServerOptions(http_restricted_api={"health,model-repository": ("who", "me")})
    assert options.to_argv() == ["--http-restricted-api=health,model-repository:who=me"]
    with pytest.raises(InvalidOptionError, match="<config name>:<setting>=<value>"):
        ServerOptions.from_argv(["--http-restricted-api=health,who=me"])


def test_a_server_with_restricted_apis_is_asked_with_what_they_want(empty):
    with TritonServer(empty, http_restricted_api={"health,model-repository": ("who", "me")}) as server:
        assert server.models() == []
        with pytest.raises(urllib.error.HTTPError):
            get_text(f"http://{server.http_url}/v2/health/ready")


@pytest.mark.parametrize("service", ["http", "grpc"])
def test_two_groups_of_apis_may_want_one_key(empty, service):
    groups = {name: ("key", name) for name in ("health", "model-repository", "inference")}
    flag = {"http": "http_restricted_api", "grpc": "grpc_restricted_protocol"}[service]
    with TritonServer(empty, allow_http=service == "http", **{flag: groups}) as server:
        assert server.models() == []


def test_mutual_tls_that_is_off_is_off(empty):
    assert ServerOptions(grpc_use_ssl_mutual=False).to_argv() == []
    with TritonServer(empty, allow_http=False, grpc_use_ssl_mutual=False) as server:
        assert server.models() == []  # over gRPC, without TLS


@pytest.mark.parametrize(("given", "used"), [({}, 400), ({"metrics_interval_ms": 2000}, 2000)])
def test_a_stop_does_not_wait_for_the_metrics(empty, given, used):
    """The thread that polls them sleeps, and is waited for."""
    assert f"--metrics-interval-ms={used}" in TritonServer(empty, **given).argv


def test_flags_are_written_in_full():
    options = ServerOptions.from_argv(["--model-rep=m", "--log-verb=1"])
    assert options.to_argv() == ["--log-verbose=1", "--model-repository=m"]


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_a_port_for_two_is_refused_also_where_the_addresses_read_differently(empty, address):
    options = ServerOptions(
        model_repository=empty, http_port=8000, http_address="0.0.0.0", grpc_port=8000, grpc_address=address
    )
    assert ["same address and port" in fault for fault in faults(options)] == [True]
    with pytest.raises(OptionsError, match="same address and port"):
        TritonServer(options=options).start()


def test_port_0_is_a_port_that_is_known(empty):
    with TritonServer(empty, http_port=0, grpc_port=0, metrics_port=0) as server:
        assert not server.http_url.endswith(":0")
        assert server.http_url != server.grpc_url
        assert server.request("/v2")["name"] == "triton"


def test_a_given_metrics_port_in_use_is_told(empty):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(HandledError, match=f"the metrics port {port} is in use") as caught:
            TritonServer(empty, metrics_port=port).__enter__()
    assert caught.value.next_step == "take another --metrics-port"


def test_all_ends_of_a_start_have_status_1_and_leave_nothing(broken):
    server = TritonServer(broken)
    server.start()
    with pytest.raises(StartError) as caught:
        server.wait_ready()
    assert caught.value.returncode == 1
    assert [failure.name for failure in caught.value.failures] == ["lost"]
    server.kill()


def test_a_model_that_failed_shows_where_the_server_says_that_it_is_ready(broken):
    options = ServerOptions(exit_on_error=False, strict_readiness=False)
    with TritonServer(broken, options) as server:
        assert server.endpoint.ready() is True
        [lost] = server.models()
    assert (lost.name, lost.state) == ("lost", "UNAVAILABLE")


@pytest.mark.parametrize("http", [True, False])
def test_a_model_that_does_not_exist_shows_where_the_server_says_that_it_is_ready(empty, http):
    options = ServerOptions(
        exit_on_error=False, strict_readiness=False, model_control_mode="explicit", load_model="nosuch"
    )
    with TritonServer(empty, options, allow_http=http) as server:
        assert server.endpoint.ready() is True
        [lost] = server.models()
    assert (lost.name, lost.state, lost.reason) == ("nosuch", "", "model not found in any model repository.")


def test_a_server_without_http_is_asked_over_grpc(broken):
    with TritonServer(broken, allow_http=False, exit_on_error=False, allow_metrics=False) as server:
        [lost] = server.models()
        assert (lost.name, lost.version, lost.state) == ("lost", "1", "UNAVAILABLE")
        assert "unable to find backend library" in lost.reason
        with pytest.raises(HandledError, match="started without http"):
            server.http_url  # noqa: B018
        with pytest.raises(HandledError, match="no model 'other' at"):
            model_metadata(server.grpc_url, "grpc", "other")
        server.kill()
        with pytest.raises(HandledError, match=r"tritonserver was stopped \(signal SIGKILL\)"):
            server.models()
        assert server.endpoint.ready() is None
    with TritonServer(broken, allow_http=False, exit_on_error=False) as server:
        pass
    assert server.returncode == 0


def test_restricted_protocols_of_a_server_without_http(empty):
    options = ServerOptions(
        allow_http=False, grpc_restricted_protocol={"health,model-repository": ("who", "me")}
    )
    with TritonServer(empty, options) as server:
        assert server.models() == []


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"allow_http": False, "allow_grpc": False}, "no way to ask the server"),
        ({"allow_http": False, "grpc_use_ssl": True}, "it wants certificates"),
    ],
)
def test_a_server_that_nobody_could_ask_is_not_started(empty, fields, words):
    server = TritonServer(empty, **fields)
    with pytest.raises(HandledError, match=words):
        server.start()
    assert server.log_lines() == []


def test_an_environment_of_vertex_ai_turns_nothing_off(empty, monkeypatch):
    monkeypatch.setenv("AIP_MODE", "PREDICTION")
    monkeypatch.setenv("AIP_STORAGE_URI", "gs://other/models")
    monkeypatch.setenv("AIP_HTTP_PORT", "1")
    with TritonServer(empty) as server:
        assert server.request("/v2")["name"] == "triton"
        assert "Vertex" not in server.log_text()
    routes = {"AIP_PREDICT_ROUTE": "/predict", "AIP_HEALTH_ROUTE": "/health"}
    wanted = TritonServer(empty, allow_vertex_ai=True, vertex_ai_default_model="any", env=routes)
    with pytest.raises(StartError, match=r"failed to start Vertex AI service: .*'any' is loaded"):
        wanted.__enter__()


def test_the_usual_addresses_are_of_this_machine_only(empty):
    with TritonServer(empty) as server:
        flags = ServerOptions.from_argv(server.argv[1:])
    assert (flags.http_address, flags.grpc_address, flags.metrics_address) == ("127.0.0.1",) * 3


def test_a_relative_repository_is_made_absolute(empty, monkeypatch):
    monkeypatch.chdir(empty.parent)
    assert f"--model-repository={empty}" in TritonServer("empty").argv


def is_server(pid):
    try:
        return b"tritonserver" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def left():
    """Give the threads of this process, and how many files it has open."""
    return set(threading.enumerate()), len(os.listdir("/proc/self/fd"))


@pytest.mark.timeout(300)
def test_fifty_starts_and_stops_in_a_row(empty):
    """No start fails, and no process, port, thread or open file is left."""
    pids, urls = set(), set()
    threads, files = left()
    begin = time.monotonic()
    for _ in range(50):
        server = TritonServer(empty)
        with server:
            pids.add(server.pid)
            urls |= {server.http_url, server.grpc_url, server.metrics_url.split("/")[2]}
        assert server.returncode == 0
    assert len(pids) == 50
    print(f"{(time.monotonic() - begin) / 50:.2f} s each")
    assert [pid for pid in pids if is_server(pid)] == []
    after = left()
    # Other tests' cores live in this process, too: their threads come, as Dummy-N, and go.
    assert [each for each in after[0] - threads if not each.name.startswith("Dummy-")] == []
    assert after[1] <= files
    for url in urls:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", int(url.rpartition(":")[2])))


def test_eight_servers_at_the_same_time(empty):
    servers = [TritonServer(empty) for _ in range(8)]
    try:
        for server in servers:
            server.start()
        for server in servers:
            assert server.wait_ready() == []
        assert len({server.http_url for server in servers}) == 8
    finally:
        for server in servers:
            server.kill()


def test_ports_that_are_given_and_free_are_taken(empty):
    ports = choose_ports(dict.fromkeys(("http", "grpc", "metrics")))
    with TritonServer(empty, **{f"{name}_port": port for name, port in ports.items()}) as server:
        assert server.http_url.endswith(str(ports["http"]))
    assert find_server().binary.is_file()


@pytest.mark.filterwarnings("ignore:.* is deprecated")
@pytest.mark.parametrize(
    ("argv", "setting", "value"),
    [
        (["--trace-level=MIN", "--trace-level=TENSORS"], "trace_level", ["TIMESTAMPS", "TENSORS"]),
        (["--trace-level=MAX", "--trace-level=OFF"], "trace_level", ["OFF"]),
        (["--trace-config=level=TENSORS", "--trace-level=MIN"], "trace_level", ["TIMESTAMPS", "TENSORS"]),
        (["--trace-config=rate=7", "--trace-rate=9"], "trace_rate", "7"),
        (["--trace-count=3", "--trace-count=4"], "trace_count", "4"),
    ],
)
def test_old_trace_flags_mean_what_they_meant(empty, argv, setting, value):
    """The settings of a server with the old flags are those of one with what they are translated to."""
    ports = choose_ports(dict.fromkeys(("http", "grpc")))
    raw = [f"--model-repository={empty}", *(f"--{name}-port={port}" for name, port in ports.items()), *argv]
    old = BoundProcess([str(find_server().binary), *raw, "--allow-metrics=false"])
    try:
        endpoint = HttpEndpoint(f"127.0.0.1:{ports['http']}")
        deadline = time.monotonic() + 60
        while not endpoint.ready() and old.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        assert endpoint.request("/v2/trace/setting")[setting] == value
    finally:
        old.kill()
    with TritonServer(empty, ServerOptions.from_argv(argv)) as server:
        assert server.request("/v2/trace/setting")[setting] == value


def test_addresses_of_ipv6_are_asked_there(empty):
    loopback = {"http_address": "ipv6:::1", "metrics_address": "ipv6:::1", "grpc_address": "[::1]"}
    with TritonServer(empty, **loopback) as server:
        assert server.http_url.startswith("[::1]:")
        assert "nv_cpu" in get_text(server.metrics_url)
    with TritonServer(empty, **loopback, allow_http=False) as server:
        assert server.models() == []


def test_an_address_of_another_machine_is_no_port_in_use(empty):
    """TEST-NET-1: nobody has it."""
    with pytest.raises(HandledError, match=r"the grpc address 192\.0\.2\.1 is none of this machine's"):
        TritonServer(empty, grpc_address="192.0.2.1").start()
