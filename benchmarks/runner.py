"""Measure the Runner beside hand-written tritonclient code: `make bench-runner`."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a file: the package is found from the folder above
    sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import tritonclient.grpc
from rich.console import Console
from rich.table import Table

from triton_backend_sdk.runner import Runner
from triton_backend_sdk.tools.build import build_backend
from triton_backend_sdk.tools.project import Project

EXAMPLE = Path(__file__).parent.parent / "examples" / "identity"
SMALL = np.ones(16, np.float32)
LARGE = np.random.default_rng(0).random(4 << 20, np.float32)
#: Rounds, and calls of each kind in a round: in turns, so that the machine's moods meet all alike.
SMALL_ROUNDS, LARGE_ROUNDS = (20, 200), (5, 5)

Calls = Mapping[str, Callable[[Any], Any]]


def main() -> int:
    """Run the benchmark."""
    with tempfile.TemporaryDirectory() as folder:
        project = Project.find(EXAMPLE)
        build_backend(project, Path(folder))
        options: dict[str, Any] = {"backend_directory": folder}
        repository = project.model_repository
        with Runner(repository, **options) as runner, Runner(repository, in_process=True, **options) as core:
            shared = Runner(url=runner.url, shared_memory=True)
            http = Runner(url=f"http://{runner.server.http_url}")
            client = tritonclient.grpc.InferenceServerClient(runner.server.grpc_url)
            calls: Calls = {
                "tritonclient, by hand, gRPC": lambda x: _by_hand(client, x),
                "Runner, gRPC": lambda x: runner.identity.run(x)["OUT"],
                "Runner, HTTP": lambda x: http.identity.run(x)["OUT"],
                "Runner, gRPC with shared memory": lambda x: shared.identity.run(x)["OUT"],
                "Runner, in process": lambda x: core.identity.run(x)["OUT"],
            }
            small = measure(calls, SMALL, *SMALL_ROUNDS)
            large = measure(calls, LARGE, *LARGE_ROUNDS)
            client.close()
            http.close()
            shared.close()
    show(small, large)
    return 0


def _by_hand(client: Any, array: np.ndarray[Any, Any]) -> Any:
    tensor = tritonclient.grpc.InferInput("IN", list(array.shape), "FP32")
    tensor.set_data_from_numpy(array)
    return client.infer("identity", [tensor]).as_numpy("OUT")


def measure(calls: Calls, array: np.ndarray[Any, Any], rounds: int, number: int) -> dict[str, float]:
    """Give the median seconds of each kind of call."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for name, call in calls.items():
        np.testing.assert_array_equal(call(array), array, err_msg=name)
    for _ in range(rounds):
        for name, call in calls.items():
            for at in range(number + 2):
                start = time.perf_counter()
                call(array)
                if at > 1:  # the first ones of a turn find cold caches
                    taken[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in taken.items()}


def show(small: Mapping[str, float], large: Mapping[str, float]) -> None:
    """Print the table; a factor below 1 is faster than code by hand."""
    table = Table(box=None, pad_edge=False)
    for column in ("", "64 B, us", "factor", "16 MB, ms", "factor"):
        table.add_column(column, justify="left" if not column else "right")
    first = next(iter(small))
    for name in small:
        factors = (f"{times[name] / times[first]:.2f}" for times in (small, large))
        table.add_row(
            name, f"{small[name] * 1e6:.0f}", next(factors), f"{large[name] * 1e3:.1f}", next(factors)
        )
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
