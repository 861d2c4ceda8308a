import math
import time

import numpy as np
import pytest

from triton_backend_sdk.tools import client
from triton_backend_sdk.tools.activity import (
    MEDIANS,
    Counts,
    Meter,
    counts_of_metrics,
    counts_of_statistics,
    read_counts,
)
from triton_backend_sdk.tools.build import build_backend
from triton_backend_sdk.tools.server import TritonServer

from ..conftest import ECHO_MODELS, write_echo_project

METRICS = """
# HELP nv_inference_request_success Number of successful inference requests
# TYPE nv_inference_request_success counter
nv_inference_request_success{model="m",version="1"} 10
nv_inference_request_success{gpu_uuid="GPU-1",model="m",version="1"} 5
nv_inference_request_failure{model="m",reason="OTHER",version="1"} 2
nv_inference_request_failure{model="m",reason="REJECTED",version="1"} 1
nv_inference_request_duration_us{model="m",version="1"} 30000
nv_inference_request_summary_us_count{model="m",version="1"} 10
nv_inference_request_summary_us{model="m",version="1",quantile="0.5"} 1500
nv_inference_request_summary_us{model="m",version="1",quantile="0.9"} 9000
nv_inference_request_summary_us{model="quiet",version="1",quantile="0.5"} Nan
nv_inference_request_success{model="with \\"quotes\\", and }",version="2"} 1e+06
nv_cpu_utilization 0.5
"""


def test_metrics_are_read():
    found = counts_of_metrics(METRICS)
    assert found["m", "1"] == Counts(15, 3, 0.03, 0.0015)
    assert found["quiet", "1"] == Counts(0, 0, 0, None)
    assert found['with "quotes", and }', "2"].succeeded == 1e6
    assert len(found) == 3


def test_statistics_are_read():
    stats = {"success": {"count": 4, "ns": 2_000_000}, "fail": {"count": 1, "ns": 5}}
    answer = {"model_stats": [{"name": "m", "version": "1", "inference_stats": stats}]}
    assert counts_of_statistics(answer) == {("m", "1"): Counts(4, 1, 0.002)}


@pytest.mark.parametrize("asked", ["metrics", "http", "grpc"])
def test_what_a_real_server_does_is_measured(tmp_path, asked):
    project = write_echo_project(tmp_path, {"rows": ECHO_MODELS["rows"]})
    build_backend(project, tmp_path / "backends")
    more = {"metrics_config": MEDIANS} if asked == "metrics" else {"allow_metrics": False}
    if asked == "grpc":
        more["allow_http"] = False
    with TritonServer(project.model_repository, backend_directory=tmp_path / "backends", **more) as server:
        meter, before = Meter(server), time.monotonic()
        assert meter.look() == {}
        begin = time.monotonic()
        for _ in range(20):
            url, protocol = (server.grpc_url, "grpc") if asked == "grpc" else (server.http_url, "http")
            client.infer(url, protocol, "rows", {"IN": np.ones((1, 3), np.float32)})
        while read_counts(server)["rows", "1"].succeeded < 20:  # a request is counted after it was answered
            assert time.monotonic() - begin < 60
        least = time.monotonic() - begin
        does = meter.look()["rows", "1"]
        assert 20 / (time.monotonic() - before) <= does.requests_per_s <= 20 / least
        assert 0 < does.average_s < 1
        assert does.failures_per_s == 0
        if asked == "metrics":
            assert 0 < does.median_s < 1
        quiet = meter.look()["rows", "1"]
        assert (quiet.requests_per_s, quiet.average_s, quiet.median_s) == (0, None, None)


def test_a_model_that_counts_anew_has_no_negative_rate(monkeypatch):
    counts = iter([{("m", "1"): Counts(100, 0, 1.0)}, {("m", "1"): Counts(10, 0, 0.1)}])
    monkeypatch.setattr("triton_backend_sdk.tools.activity.read_counts", lambda server: next(counts))
    meter = Meter(None)
    meter.look()
    does = meter.look()["m", "1"]
    assert does.requests_per_s > 0
    assert math.isclose(does.average_s, 0.01)
