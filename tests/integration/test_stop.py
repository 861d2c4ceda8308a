"""A real server that is stopped with everything in use ends with exit status 0, whatever its plugins still hold."""

from __future__ import annotations

import re
import shutil
import threading
import time
import urllib.error
import urllib.request

import pytest

from tests.runtime.conftest import write_model, write_project
from triton_backend_sdk.tools.build import build_backend
from triton_backend_sdk.tools.server import ServerOptions, TritonServer

#: Calls, streams, metrics, a batcher, coroutines and threads of its own, at the moment of the stop and after it.
SOURCE = """
import asyncio, atexit, threading, time
import numpy as np
from triton_backend_sdk import Response, hookimpl

kept = []
stop = threading.Event()

@hookimpl
def backend_initialize(backend):
    backend.state.started = True

@hookimpl
def backend_finalize(backend):
    print("BACKEND ENDS", backend.name, backend.state.started, flush=True)
    raise ValueError("which is logged")

class Late:
    def __init__(self, model):
        self.model = model
        self.counter = model.metrics.counter("late_total", "Late")
    def __del__(self):
        for use in (self.counter.increment, self.model.server.index):
            try:
                use()
            except Exception as error:
                print("LATE", type(error).__name__, flush=True)

def poll(model):
    while not stop.wait(0.001):
        try:
            model.metrics.counter("polls_total", "Polls").increment()
            kept.append(model.server.start("leaf", {"IN": np.ones((1, 4), np.float32)}))
            kept.append(model.server.stream("many", {"IN": np.ones(4, np.float32)}))
            if len(kept) > 100:
                kept.clear()
            model.server.statistics("leaf")
        except Exception:
            time.sleep(0.001)

@hookimpl
def initialize(instance):
    model = instance.model
    kept.append(Late(model))
    if model.name == "caller":
        for _ in range(2):
            threading.Thread(target=poll, args=[model], daemon=True).start()

@hookimpl
def is_ready(instance):
    return True

@hookimpl
def batch_include(batch, request):
    batch.count = getattr(batch, "count", 0) + 1
    return batch.count < 4

@hookimpl
def finalize(instance):
    if instance.model.parameters.get_str("stops", "no") == "yes":
        stop.set()

@atexit.register
def at_exit():
    print("EXIT FUNCTIONS", flush=True)
    kept.clear()

@hookimpl
def execute(instance, requests):
    name = instance.model.name
    if name == "many":
        return [(Response({"OUT": np.float32([n])}) for n in range(50)) for _ in requests]
    if name == "caller":
        for response in instance.model.server.stream("many", {"IN": np.ones(4, np.float32)}):
            kept.append(response["OUT"].numpy())
        answers = [instance.model.server.start("leaf", r, parent=r) for r in requests]
        return [Response({"OUT": answer.result()["OUT"]}) for answer in answers]
    time.sleep(0.002)
    return [Response({"OUT": request["IN"].numpy()}) for request in requests]
"""
BODY = b'{"inputs": [{"name": "IN", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}'
FP32 = {"IN": ("FP32", [-1])}, {"OUT": ("FP32", [-1])}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("stop")
    build_backend(write_project(root / "projects", "busy", SOURCE, "batcher = true\n"), root / "backends")
    batching = "dynamic_batching { max_queue_delay_microseconds: 1000 }"
    for name, batch, extra in [
        ("leaf", 8, batching),
        ("caller", 8, batching),
        ("many", 0, "model_transaction_policy { decoupled: true }"),
    ]:
        write_model(
            root / "models",
            name,
            "busy",
            *FP32,
            batch=batch,
            parameters={"execute_watchdog_seconds": "5"},
            extra=f"{extra} instance_group {{ kind: KIND_CPU count: 2 }}",
        )
    return root


@pytest.mark.parametrize("run", range(3))
def test_a_server_that_is_stopped_in_full_swing_ends_well(folders, run):
    server = TritonServer(folders / "models", backend_directory=folders / "backends", exit_timeout_secs=20)
    with server as running:
        over = threading.Event()

        def ask():
            url = f"http://{running.http_url}/v2/models/caller/infer"
            while not over.is_set():
                try:
                    urllib.request.urlopen(urllib.request.Request(url, BODY), timeout=5).read()
                except OSError:
                    time.sleep(0.01)

        clients = [threading.Thread(target=ask) for _ in range(8)]
        for client in clients:
            client.start()
        time.sleep(0.5 + run / 10)
        try:
            status = running.stop(60)
        finally:
            over.set()
            for client in clients:
                client.join()
        log = running.log_text()
    assert status == 0, log[-3000:]
    assert log.count("BACKEND ENDS busy True") == 1
    assert "which is logged" in log
    assert log.index("BACKEND ENDS") < log.index("EXIT FUNCTIONS")
    assert not re.search(r"Signal \((?!15)|Segmentation|terminate called", log), log[-3000:]


def test_a_reload_that_failed_does_not_hold_up_the_stop(folders, tmp_path):
    """Triton waits until its exit timeout for a model that is not there."""
    shutil.copytree(folders / "models" / "leaf", tmp_path / "models" / "leaf")
    options = ServerOptions(model_control_mode="explicit", load_model=["*"], exit_timeout_secs=300)
    with TritonServer(tmp_path / "models", options, backend_directory=folders / "backends") as server:
        config = tmp_path / "models" / "leaf" / "config.pbtxt"
        config.write_text(config.read_text().replace("output { ", 'output { label_filename: "none.txt" '))
        with pytest.raises(urllib.error.HTTPError):
            server.request("/v2/repository/models/leaf/load", method="POST", body={})
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 100
        assert "successfully unloaded 'leaf' version 1" in server.log_text()
