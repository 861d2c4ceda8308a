"""Send a million requests to one server and watch its memory: flat, or this fails."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

if __package__ in (None, ""):  # run as a file: the package is found from the folder above
    sys.path.insert(0, str(Path(__file__).parent.parent))

from rich.console import Console

from benchmarks import parts
from benchmarks.layout import place_backend, write_models
from benchmarks.rows import BATCH, CALL_SMALL, COMPAT, SMALL, Model, Peer
from benchmarks.soak_clients import fail, go_away
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.install import install_server
from triton_backend_sdk.tools.process import BoundProcess
from triton_backend_sdk.tools.server import TritonServer, find_server

HERE = Path(__file__).parent
BACKEND = Peer("soak", "the plugin of the soak test", "soak_{}")
AWAIT = Model("await_small", "FP32", 16, work="await")
STREAM = Model("stream", "INT32", 1, work="stream", decoupled=("soak",))
#: The benchmark's model.py files, in-process.
PYTHON_STREAM = Model("python_stream", "INT32", 1, work="stream", decoupled=("compat",))
CALL_PYTHON = Model("call_python_small", "FP32", 16, work="call")
#: Responses that each stream has, but for those whose client goes away.
STREAM_LENGTH = 20
#: Each model with who serves it, and the number of requests that are kept in flight.
LOADS = (
    (BACKEND, SMALL, 4),
    (BACKEND, Model("strings", "STRING", 100), 1),
    (BACKEND, BATCH, 32),
    (BACKEND, CALL_SMALL, 2),
    (BACKEND, AWAIT, 8),
    (BACKEND, STREAM, 2),
    (COMPAT, Model("python_small", "FP32", 16), 2),
    (COMPAT, CALL_PYTHON, 2),
    (COMPAT, PYTHON_STREAM, 1),
)
#: RSS may grow by this much after the warm-up. Medians: responses to slow clients wait in Triton for moments.
ALLOWED = 1.02
_SAMPLE_S = 0.5
_LIMIT_S = 1800.0

#: Requests answered so far, failed ones included, and the server's resident memory in bytes.
Point = tuple[int, int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the soak test and give the exit status: 0 where memory stayed flat."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000_000, help="default: %(default)s")
    parser.add_argument(
        "-o", "--output", type=Path, default=HERE / "results", metavar="DIR", help="where to write"
    )
    options = parser.parse_args(arguments)
    console = Console(highlight=False)
    try:
        points = soak(options.requests, console.print)
    except HandledError as error:
        console.print("[red]error:[/]", error.message, *error.details, sep="\n  ")
        return 1
    warm, late = summary(points)
    flat = late <= warm * ALLOWED
    verdict = "[green]flat[/]" if flat else "[red]growing[/]"
    console.print(
        f"{points[-1][0]:,} requests: {warm / 2**20:.1f} MiB in the second tenth, "
        f"{late / 2**20:.1f} MiB in the last ({late / warm - 1:+.2%}): {verdict}"
    )
    write(points, options.output)
    return 0 if flat else 1


def summary(points: Sequence[Point]) -> tuple[float, float]:
    """Give the median RSS over the second tenth of the requests, and over the last."""
    requests = points[-1][0]
    second = [rss for done, rss in points if requests * 0.1 <= done <= requests * 0.2]
    last = [rss for done, rss in points if done >= requests * 0.9]
    return statistics.median(second or last), statistics.median(last)


def soak(requests: int, report: Callable[[str], None]) -> list[Point]:
    """Load a server until it has answered that many requests, and give the samples."""
    installation = find_server(install_server())
    root = installation.binary.parent.parent
    perf_analyzer = parts.perf_analyzer(root)
    libraries = f"{perf_analyzer.parent / 'lib'}:{root / 'lib'}"
    with tempfile.TemporaryDirectory(prefix="tbsdk-soak-") as name, contextlib.ExitStack() as running:
        work = Path(name)
        for peer, model, _ in LOADS:
            place_backend(peer, model.work, work / "backends", root)
            write_models(peer, work / "models", [model])
        server = TritonServer(work / "models", backend_directory=work / "backends", server=installation)
        running.callback(server.kill)  # at once: the plugin keeps views, and so requests, for ever
        server.start()
        server.wait_ready()
        for _, model, concurrency in LOADS:
            command = [str(perf_analyzer), "-m", model.name, "-i", "grpc", "-u", server.grpc_url, "--async"]
            if model.work == "stream":
                command += ["--streaming", "--input-data", str(_stream_lengths(work))]
            # One endless window: perf_analyzer is stopped, its numbers are not wanted.
            command += ["--concurrency-range", str(concurrency), "-p", str(int(_LIMIT_S * 1000))]
            load = BoundProcess(command, env={**os.environ, "LD_LIBRARY_PATH": libraries})
            running.callback(load.kill)
        running.enter_context(_sending(fail, server.grpc_url))
        running.enter_context(_sending(go_away, server.http_url))
        points = list(_watch(server, requests, report))
        report(_summary(_check_loads(server)))
        return points


def _stream_lengths(work: Path) -> Path:
    file = work / "stream.json"
    file.write_text(json.dumps({"data": [{"IN": [STREAM_LENGTH]}]}), encoding="utf-8")
    return file


def _watch(server: TritonServer, requests: int, report: Callable[[str], None]) -> Iterator[Point]:
    deadline, shown, done = time.monotonic() + _LIMIT_S, 0, 0
    while done < requests:
        time.sleep(_SAMPLE_S)
        if server.returncode is not None:
            raise server.ended()
        if time.monotonic() > deadline:
            raise HandledError(f"only {done:,} of {requests:,} requests in {_LIMIT_S:.0f} s")
        done, rss = _answered(server), _resident_bytes(server.pid)
        yield done, rss
        if done >= shown:
            report(f" {done:>12,} requests  {rss / 2**20:8.1f} MiB")
            shown += requests // 10


def _answered(server: TritonServer) -> int:
    return sum(_counts(server).values())


def _counts(server: TritonServer) -> dict[tuple[str, str], int]:
    models = server.request("/v2/models/stats")["model_stats"]
    kinds = ("success", "fail")
    return {
        (each["name"], kind): int(each["inference_stats"][kind]["count"]) for each in models for kind in kinds
    }


def _check_loads(server: TritonServer) -> dict[tuple[str, str], int]:
    counts = _counts(server)
    idle = [model.name for _, model, _ in LOADS if not counts[model.name, "success"]]
    if idle or not counts[SMALL.name, "fail"] or not counts[STREAM.name, "fail"]:
        raise HandledError(f"not every kind of request was sent: {counts}", "see perf_analyzer's own output")
    return counts


def _summary(counts: dict[tuple[str, str], int]) -> str:
    streamed = STREAM_LENGTH * sum(counts[model.name, "success"] for model in (STREAM, PYTHON_STREAM))
    calls = sum(counts[model.name, "success"] for model in (CALL_SMALL, AWAIT, CALL_PYTHON))
    failed = sum(count for (_, kind), count in counts.items() if kind == "fail")
    return (
        f"among them {streamed:,} streamed responses, {calls:,} calls, {failed:,} failures and clients gone"
    )


def _resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextlib.contextmanager
def _sending(client: Callable[[str, threading.Event], None], url: str) -> Iterator[None]:
    """Let a client of our own send beside the other loads."""
    stop = threading.Event()
    thread = threading.Thread(target=client, args=(url, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=10)


def write(points: Sequence[Point], directory: Path) -> None:
    """Write soak.json and soak.png."""
    from benchmarks.plot import draw_memory  # noqa: PLC0415  # matplotlib is slow to import

    directory.mkdir(parents=True, exist_ok=True)
    (directory / "soak.json").write_text(
        json.dumps({"requests_and_rss_bytes": points}) + "\n", encoding="utf-8"
    )
    draw_memory(points, directory / "soak.png")


if __name__ == "__main__":
    raise SystemExit(main())
