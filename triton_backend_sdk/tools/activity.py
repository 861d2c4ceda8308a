"""What the models of a server are doing: requests per second and latency, from its metrics or statistics."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from triton_backend_sdk.tools.endpoints import get_text
from triton_backend_sdk.tools.metrics_text import samples
from triton_backend_sdk.tools.server import TritonServer

#: Name and version of a model.
Key = tuple[str, str]
#: What a server must be started with to tell medians.
MEDIANS = {"": {"summary_latencies": "true"}}


@dataclass
class Counts:
    """What a server has counted of a model since it was started."""

    succeeded: float = 0
    failed: float = 0
    #: Of all that succeeded, together.
    seconds: float = 0
    #: Of late, where the server tells it.
    median_s: float | None = None


@dataclass(frozen=True)
class Activity:
    """What a model did between two looks."""

    requests_per_s: float
    failures_per_s: float
    #: None: no request succeeded.
    average_s: float | None
    median_s: float | None


@dataclass
class Meter:
    """Looks at a server from time to time."""

    server: TritonServer
    _before: dict[Key, Counts] = field(default_factory=dict)
    _at: float | None = None

    def look(self) -> dict[Key, Activity]:
        """Give what was done since the last look; nothing the first time.

        :raises OSError: the server does not answer.
        """
        counts, now = read_counts(self.server), time.monotonic()
        found = {}
        if self._at is not None:
            passed = max(now - self._at, 1e-9)
            for key, count in counts.items():
                found[key] = _difference(self._before.get(key, Counts()), count, passed)
        self._before, self._at = counts, now
        return found


def _difference(before: Counts, now: Counts, passed: float) -> Activity:
    # A model that was loaded anew counts from zero.
    if now.succeeded < before.succeeded:
        before = Counts()
    done = now.succeeded - before.succeeded
    average = (now.seconds - before.seconds) / done if done else None
    median = now.median_s if done else None
    return Activity(done / passed, max(now.failed - before.failed, 0) / passed, average, median)


def read_counts(server: TritonServer) -> dict[Key, Counts]:
    """Ask a server for its metrics, or for its statistics where it has no metrics."""
    if server.options.allow_metrics:
        return counts_of_metrics(get_text(server.metrics_url))
    return counts_of_statistics(server.endpoint.statistics())


def counts_of_metrics(text: str) -> dict[Key, Counts]:
    """Read the text of the metrics endpoint."""
    found: dict[Key, Counts] = {}
    for name, labels, value in samples(text):
        if "model" not in labels:
            continue
        counts = found.setdefault((labels["model"], labels.get("version", "")), Counts())
        # Added up: an instance on a GPU has samples of its own.
        if name == "nv_inference_request_success":
            counts.succeeded += value
        elif name == "nv_inference_request_failure":
            counts.failed += value
        elif name == "nv_inference_request_duration_us":
            counts.seconds += value / 1e6
        elif name == "nv_inference_request_summary_us" and labels.get("quantile") == "0.5":
            counts.median_s = None if math.isnan(value) else value / 1e6
    return found


def counts_of_statistics(answer: Mapping[str, Any]) -> dict[Key, Counts]:
    """Read the JSON of ``/v2/models/stats``; gRPC's has numbers as texts."""
    found = {}
    for row in answer.get("model_stats", ()):
        stats = row.get("inference_stats", {})
        success, fail = stats.get("success", {}), stats.get("fail", {})
        found[row["name"], row["version"]] = Counts(
            float(success.get("count", 0)), float(fail.get("count", 0)), float(success.get("ns", 0)) / 1e9
        )
    return found
