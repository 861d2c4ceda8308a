"""What a real server shows of a plugin: its metrics endpoint, its trace file, its log when an execute hangs."""

from __future__ import annotations

import json
import re
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from triton_backend_sdk.tools.build import build_backend
from triton_backend_sdk.tools.project import Project
from triton_backend_sdk.tools.server import TritonServer

PLUGIN = """
import ctypes
import logging
import time

from triton_backend_sdk import MemoryType, Response, hookimpl


contexts = []


@hookimpl
def model_initialize(model):
    model.state.asked = model.metrics.counter("watched_requests", "Requests", labels={"kind": "any"})
    model.state.took = model.metrics.histogram("watched_seconds", "Took", buckets=[0.5, 1])
    model.report_memory_usage({MemoryType.CPU: 4321})


def hang(seconds, keep_gil):
    if keep_gil:
        ctypes.PyDLL(None).usleep(int(seconds * 1e6))  # PyDLL keeps the GIL
    else:
        time.sleep(seconds)


@hookimpl
def execute(instance, requests):
    state = instance.model.state
    for request in requests:
        contexts.append(request.trace.context)
        with request.trace.span("hang"):
            request.trace.report("asked")
            hang(request.parameters.get("seconds", 0), request.parameters.get("keep_gil", False))
        state.asked.increment()
        state.took.observe(request.parameters.get("seconds", 0))
        logging.info("context %s", contexts[-1])
    return [Response({"OUT": request["IN"].numpy()}) for request in requests]
"""
CONFIG = """
backend: "watched"
input [{ name: "IN" data_type: TYPE_INT32 dims: [ 1 ] }]
output [{ name: "OUT" data_type: TYPE_INT32 dims: [ 1 ] }]
instance_group [{ kind: KIND_CPU }]
parameters { key: "execute_watchdog_seconds" value { string_value: "1" } }
"""


@pytest.fixture(scope="module")
def trace_file(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("trace") / "trace.json"


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    root = tmp_path_factory.mktemp("watched")
    (root / "watched").mkdir()
    (root / "watched" / "__init__.py").touch()
    (root / "watched" / "plugin.py").write_text(PLUGIN)
    (root / "pyproject.toml").write_text('[project]\nname = "watched"\n[tool.tbsdk]\nbackend = "watched"\n')
    (root / "model_repository" / "watched" / "1").mkdir(parents=True)
    (root / "model_repository" / "watched" / "config.pbtxt").write_text(CONFIG)
    build_backend(Project.find(root), root / "backends")
    return Project.find(root)


@pytest.fixture(scope="module")
def server(project, trace_file):
    traces = {
        "": {"mode": "triton", "level": "TIMESTAMPS", "rate": 1},
        "triton": {"file": trace_file, "log-frequency": 1},
    }
    with serve(project, trace_config=traces, model_control_mode="explicit", load_model="watched") as running:
        yield running


def serve(project, **options):
    return TritonServer(project.model_repository, backend_directory=project.root / "backends", **options)


def ask(server, request_id="who asks", **parameters):
    body = {
        "id": request_id,
        "parameters": parameters,
        "inputs": [{"name": "IN", "datatype": "INT32", "shape": [1], "data": [3]}],
    }
    answer = server.request("/v2/models/watched/infer", method="POST", body=body, timeout=30)
    assert answer["outputs"][0]["data"] == [3]


def metrics(server, name) -> dict[str, float]:
    with urllib.request.urlopen(server.metrics_url, timeout=10) as response:
        text = response.read().decode()
    return {
        labels: float(value) for labels, value in re.findall(rf"^{name}{{(.*)}} (\S+)$", text, re.MULTILINE)
    }


def wait_for(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, condition
        time.sleep(0.05)
    return found


def test_a_family_comes_and_goes_with_its_model(server):
    labels = 'kind="any",model="watched",version="1"'
    before = metrics(server, "watched_requests")[labels]
    ask(server)
    ask(server)
    assert metrics(server, "watched_requests") == {labels: before + 2}
    assert metrics(server, "watched_seconds_count")['model="watched",version="1"'] >= 2
    statistics = server.request("/v2/models/watched/stats")["model_stats"][0]
    assert statistics["memory_usage"] == [{"type": "CPU", "id": 0, "byte_size": 4321}]

    for _ in range(3):
        server.request("/v2/repository/models/watched/unload", method="POST", body={})
        wait_for(lambda: metrics(server, "watched_requests") == {})
        server.request("/v2/repository/models/watched/load", method="POST", body={})
        ask(server)
        assert metrics(server, "watched_requests") == {labels: 1}
    assert "MetricFamily was deleted" not in server.log_text()


def test_a_span_is_in_the_trace_file(server, trace_file):
    ask(server, request_id="the traced one")
    events = wait_for(lambda: _trace_of("the traced one", trace_file))
    names = [stamp["name"] for event in events for stamp in event.get("timestamps", ())]
    inside = [name for name in names if name in ("hang_START", "asked", "hang_END")]
    assert inside == ["hang_START", "asked", "hang_END"]
    assert "COMPUTE_START" in names


def _trace_of(request_id, trace_file):
    for file in trace_file.parent.glob("trace.json.*"):
        text = file.read_text()
        if f'"{request_id}"' in text and text.endswith("]"):  # else it is being written
            return json.loads(text)
    return None


def test_a_hanging_execute_shows_its_stack(server):
    ask(server, seconds=1.6)
    log = server.log_text()
    assert "execute of 1 request(s) ['who asks'] has been running for 1." in log
    assert re.search(r"in this execute:.*in hang", log, re.DOTALL)


def test_the_stack_is_shown_even_when_c_code_keeps_the_gil(server):
    ask(server, seconds=2.5, keep_gil=True)
    log = server.log_text()
    assert "Timeout (0:00:01)!" in log
    assert re.search(r'plugin.py", line \d+ in hang', log)
    wait_for(lambda: "C code kept the GIL: no Python ran for" in server.log_text())


def spans(body: bytes) -> dict[str, dict]:
    """Give the spans of an OTLP request in JSON, by name."""
    scopes = [scope for resource in json.loads(body)["resourceSpans"] for scope in resource["scopeSpans"]]
    return {span["name"]: span for scope in scopes for span in scope["spans"]}


def test_a_span_is_one_of_opentelemetrys(project):
    bodies = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self):
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments):
            pass

    collector = HTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=collector.serve_forever)
    thread.start()
    url = f"http://127.0.0.1:{collector.server_port}/v1/traces"
    traces = {
        "": {"mode": "opentelemetry", "level": "TIMESTAMPS", "rate": 1},
        "opentelemetry": {"url": url, "bsp_schedule_delay": 100},
    }
    try:
        with serve(project, trace_config=traces) as running:
            ask(running, seconds=0.2)
            wait_for(lambda: {"hang", "watched"} <= {name for body in bodies for name in spans(body)})
            context = re.search(r"context \{'traceparent': '00-(\w{32})-(\w{16})-01'\}", running.log_text())
    finally:
        collector.shutdown()
        thread.join()
        collector.server_close()
    assert running.returncode == 0, "it ends clean with metrics and a watchdog in use"
    shown = {name: span for body in bodies for name, span in spans(body).items()}
    hang, model = shown["hang"], shown["watched"]
    assert hang["parentSpanId"] == model["spanId"]
    assert context is not None
    assert (context[1], context[2]) == (model["traceId"], model["spanId"])
    assert int(hang["endTimeUnixNano"]) - int(hang["startTimeUnixNano"]) >= 0.2e9
    assert [event["name"] for event in hang["events"]] == ["hang_START", "asked", "hang_END"]
