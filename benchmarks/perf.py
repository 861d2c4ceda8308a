"""Run perf_analyzer once, and read what it measured."""

from __future__ import annotations

import csv
import io
import json
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import process
from triton_backend_sdk.tools.errors import HandledError

#: Windows per measurement; perf_analyzer demands three and reports their mean.
WINDOWS = 3
#: What a measurement may take beyond its windows: mostly the start of the server in perf_analyzer.
_GRACE_S = 60.0


@dataclass(frozen=True)
class Sample:
    """One measurement."""

    #: Requests per second, of streams the responses.
    rate: float
    p50_us: float
    p99_us: float


def run(command: Sequence[str], env: Mapping[str, str], *, window_ms: int, exact: bool) -> Sample:
    """Measure once.

    :param command: perf_analyzer with what to measure; how long and where to report is added here.
    :param exact: take the percentiles from each request's time in ns; perf_analyzer's are whole microseconds.
    :raises HandledError: perf_analyzer failed or did not end; its last lines are shown.
    """
    with tempfile.TemporaryDirectory(prefix="tbsdk-bench-") as name:
        table, requests = Path(name) / "table.csv", Path(name) / "requests.json"
        # A stability of 999 %: three windows are measured and reported, always. Noise is met by the rounds.
        full = [*command, "-p", str(window_ms), "-s", "999", "-r", str(WINDOWS), "-f", str(table)]
        if exact:
            full += ["--profile-export-file", str(requests)]
        process.run("perf_analyzer", full, env, _GRACE_S + 4 * WINDOWS * window_ms / 1000)
        sample = parse_table(table.read_text(encoding="utf-8"))
        return _with_exact_percentiles(sample, requests) if exact else sample


def parse_table(text: str) -> Sample:
    """Read the CSV report of one concurrency level."""
    rows = list(csv.DictReader(io.StringIO(text)))
    if len(rows) != 1:
        raise HandledError(f"perf_analyzer's report has {len(rows)} lines of data, expected 1")
    row = rows[0]
    # It has the second column for decoupled models alone.
    rate = row.get("Response Throughput") or row["Inferences/Second"]
    return Sample(float(rate), float(row["p50 latency"]), float(row["p99 latency"]))


def parse_requests(text: str) -> list[float]:
    """Read from the profile export the latencies, in us, of the requests inside the measured windows."""
    experiment = json.loads(text)["experiments"][0]
    start, end = experiment["window_boundaries"][0], experiment["window_boundaries"][-1]
    return [
        (request["response_timestamps"][0] - request["timestamp"]) / 1000
        for request in experiment["requests"]
        if request["response_timestamps"] and start <= request["timestamp"] <= end
    ]


def _with_exact_percentiles(sample: Sample, requests: Path) -> Sample:
    latencies = sorted(parse_requests(requests.read_text(encoding="utf-8")))
    return Sample(sample.rate, statistics.median(latencies), latencies[int(0.99 * len(latencies))])
