"""Run our own client once, and read what it measured: what perf_analyzer cannot do in-process."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from benchmarks import process
from benchmarks.perf import WINDOWS, Sample
from benchmarks.rows import Load
from triton_backend_sdk.tools.errors import HandledError

#: What a measurement may take beyond its windows: mostly the start and the end of the server in the client.
_GRACE_S = 60.0


def run(
    command: Sequence[str], load: Load, models: Sequence[str], env: Mapping[str, str], window_ms: int
) -> Sample:
    """Measure once, for as long as perf_analyzer does.

    :param command: the client with what to load; what to measure is added here.
    :param models: the model, and those that it needs, first.
    :raises HandledError: the client failed, got an error or a wrong answer, or did not end.
    """
    times = (window_ms, WINDOWS * window_ms)
    full = [*command, str(load.responses), str(load.concurrency), *map(str, times), *models]
    limit_s = _GRACE_S + 4 * WINDOWS * window_ms / 1000
    return parse(process.run("the benchmark's client", full, env, limit_s), load)


def parse(lines: Sequence[str], load: Load) -> Sample:
    """Read what the client printed among the lines of the server's log: a line for each measured model."""
    reports = [json.loads(line) for line in lines if line.startswith('{"model"')]
    if len(reports) != (2 if load.less_callee else 1):
        raise HandledError(f"the client measured {len(reports)} models", details=list(lines[-8:]))
    report = reports[-1]
    callee_us = reports[0]["p50_us"] if load.less_callee else 0.0
    rate = report["responses_per_s" if load.responses else "requests_per_s"]
    return Sample(rate, report["p50_us"] - callee_us, report["p99_us"])
