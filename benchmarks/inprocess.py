"""Run our own client once, and read what it measured: what perf_analyzer cannot do in-process."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from benchmarks import process
from benchmarks.perf import WINDOWS, Sample
from benchmarks.rows import Row
from triton_backend_sdk.tools.errors import HandledError

#: What a measurement may take beyond its windows: mostly the start and the end of the server in the client.
_GRACE_S = 60.0


def run(command: Sequence[str], row: Row, env: Mapping[str, str], window_ms: int) -> Sample:
    """Measure once, for as long as perf_analyzer does.

    :param command: the client, what to load and how; how long is added here, and the models.
    :raises HandledError: the client failed, got an error or a wrong answer, or did not end.
    """
    models = [model.name if measured else f"+{model.name}" for model, measured in row.loaded()]
    full = [*command, str(window_ms), str(WINDOWS * window_ms), *models]
    limit_s = _GRACE_S + 4 * WINDOWS * window_ms / 1000
    return parse(process.run("the benchmark's client", full, env, limit_s), row)


def parse(lines: Sequence[str], row: Row) -> Sample:
    """Read what the client printed among the lines of the server's log: a line for each measured model."""
    reports = [json.loads(line) for line in lines if line.startswith('{"model"')]
    if len(reports) != sum(measured for _, measured in row.loaded()):
        raise HandledError(f"the client measured {len(reports)} models", details=list(lines[-8:]))
    *callee, report = reports
    rate = report["responses_per_s" if row.responses else "requests_per_s"]
    return Sample(rate, report["p50_us"] - sum(less["p50_us"] for less in callee), report["p99_us"])
