"""The stages answer, and each shows: in the fake host, in the real core, in a real server's trace file."""

import re
import shlex
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from triton_backend_sdk import InvalidArgError
from triton_backend_sdk.testing import CoreTrace, FakeTrace
from triton_backend_sdk.tools.server import ServerOptions

SPANS = ["tokenize_START", "tokenize_END", "score_START", "score_END", "label_START", "label_END"]
ROOT = Path(__file__).parent.parent


def texts(*items):
    return {"TEXT": np.array([[item] for item in items], dtype=object)}


def test_moods_and_spans(fake_host):
    host, trace = fake_host("traced_pipeline.plugin"), FakeTrace()

    [result] = host.execute([host.request(texts("Great, I love it", "Broken!", ""), trace=trace)])

    assert result["MOOD"].tolist() == [[b"glad"], [b"cross"], [b"even"]]
    assert result["SCORE"].tolist() == [[4], [-2], [0]]
    assert trace.activities == [*SPANS, "an empty text"]
    assert host.metrics.series("pipeline_words_total", {"known": "yes"}).number == 3
    assert host.metrics.series("pipeline_words_total", {"known": "no"}).number == 2
    assert host.metrics.series("pipeline_words", {}).observed == [4, 1, 0]


def test_a_text_that_is_none_ends_its_span_too(fake_host):
    host, trace = fake_host("traced_pipeline.plugin"), FakeTrace()

    with pytest.raises(InvalidArgError, match="not UTF-8"):
        host.execute([host.request(texts(b"\xff"), trace=trace)])

    assert trace.activities == SPANS[:2]


def test_in_the_real_triton(triton_core):
    core, trace = triton_core(), CoreTrace()

    assert core.infer("traced_pipeline", texts("not bad"), trace=trace)["MOOD"].tolist() == [[b"cross"]]

    assert core.wait_released()
    assert [name for name in trace.names() if name in SPANS] == SPANS


def test_in_a_real_trace_file(tritonserver, tmp_path):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    flags = re.search(r"tbsdk serve (--.*\n.*)\n", readme)[1].replace("trace.json", f"{tmp_path}/trace.json")
    server = tritonserver(options=ServerOptions.from_argv(shlex.split(flags.replace("\\\n", ""))))
    tensor = {"name": "TEXT", "datatype": "BYTES", "shape": [1, 1], "data": ["a fine day"]}
    server.request("/v2/models/traced_pipeline/infer", method="POST", body={"inputs": [tensor]})

    shown = spans(tmp_path / "trace.json.0")
    order = ["REQUEST_START", "COMPUTE_START", *SPANS, "COMPUTE_END", "REQUEST_END"]
    assert [name for name in re.findall(r"us  (\w+)", shown) if name in order] == order
    assert re.search(r"score_END  took \d+\.\d us", shown)
    with urllib.request.urlopen(server.metrics_url) as answer:  # noqa: S310  a server of our own
        line = 'pipeline_words_total{known="no",model="traced_pipeline",version="1"} 2'
        assert line in answer.read().decode()


def spans(file):
    """Run spans.py when the server has written the file."""
    command = [sys.executable, ROOT / "spans.py", file]
    for _ in range(100):
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode == 0:
            break
        time.sleep(0.05)
    assert result.returncode == 0, result.stderr
    return result.stdout
