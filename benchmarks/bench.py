"""Measure the backends side by side in one run, print the table, write it with a plot: `make bench`."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

if __package__ in (None, ""):  # run as a file: the package is found from the folder above
    sys.path.insert(0, str(Path(__file__).parent.parent))

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import inprocess, perf, report
from benchmarks.facts import machine_facts
from benchmarks.ground import Ground
from benchmarks.layout import lay_out
from benchmarks.rows import IN_PROCESS, PEERS, ROWS, Peer, Row
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.install import install_server
from triton_backend_sdk.tools.server import ServerInstallation, TritonServer, find_server

RESULTS = Path(__file__).parent / "results"
#: Rounds and the length of a window in ms.
FULL, QUICK = (5, 500), (2, 300)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and give the exit status."""
    options = _options(arguments)
    console = Console(highlight=False)
    try:
        results = measure(_rows(options.row), *(QUICK if options.quick else FULL), console)
    except HandledError as error:
        console.print(f"[red]error:[/] {error.message}", *error.details, sep="\n  ", markup=True)
        if error.next_step:
            console.print(f"  {error.next_step}", markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("stopped; nothing was written")
        return 130
    report.show(results, console)
    report.write(results, options.output)
    if options.output == RESULTS and not options.row:
        report.show_in_pages(results, RESULTS.parent.parent)
    console.print(f"written to {options.output}: results.json, results.md, python-models.md, results.png")
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two short rounds: about four minutes, noisier")
    keys = [row.key for row in ROWS]
    parser.add_argument("--row", action="append", choices=keys, help="only this row; repeatable")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS, metavar="DIR", help="where to write")
    return parser.parse_args(arguments)


def _rows(keys: Sequence[str] | None) -> tuple[Row, ...]:
    return tuple(row for row in ROWS if not keys or row.key in keys)


def measure(rows: Sequence[Row], rounds: int, window_ms: int, console: Console) -> report.Results:
    """Prepare everything, check every backend's answers, then measure all cells round by round."""
    _check_modules()
    samples: report.Samples = {(row, peer): [] for row in rows for peer in row.peers}
    with console.status("preparing server, perf_analyzer and the backends"):
        installation = find_server(install_server())
        root = installation.binary.parent.parent
    with tempfile.TemporaryDirectory(prefix="tbsdk-bench-") as work, contextlib.ExitStack() as running:
        with console.status("building the backends and starting a server for each"):
            ground = lay_out(Path(work), root, PEERS)
            urls = {peer: running.enter_context(_serve(ground, peer, installation)) for peer in PEERS}
        console.print("every backend answers every model rightly; measuring")
        for row, peer, round_ in _schedule(rows, rounds, console):
            sample = _sample(ground.command(row, peer, urls[peer]), row, ground.env, window_ms)
            samples[row, peer].append(sample)
            console.print(
                f" {round_ + 1}/{rounds}  {row.title:<40} {peer.key:<7}"
                f"{sample.rate:>10,.0f} {row.unit:<11} {report.microseconds(sample.p50_us):>8}"
            )
        facts = machine_facts(installation, ground)
    return report.collect(samples, facts, rounds, window_ms)


def _sample(command: Sequence[str], row: Row, env: Mapping[str, str], window_ms: int) -> perf.Sample:
    if row.own_client:
        return inprocess.run(command, row, env, window_ms)
    exact = row.service == IN_PROCESS and "p50" in row.metrics
    return perf.run(command, env, window_ms=window_ms, exact=exact)


def _check_modules() -> None:
    for module in ("tritonclient", "grpc", "matplotlib"):
        if importlib.util.find_spec(module) is None:
            raise HandledError(
                f"the benchmark needs the Python module {module}, which is not installed",
                "make bench (which installs it), or: pip install 'tritonclient[grpc]' matplotlib",
            )


@contextlib.contextmanager
def _serve(ground: Ground, peer: Peer, installation: ServerInstallation) -> Iterator[str]:
    from benchmarks.verify import check_answers  # noqa: PLC0415  # tritonclient is known to be there only now

    with TritonServer(
        ground.repository(peer),
        backend_directory=ground.backends,
        server=installation,
        allow_metrics=False,
        env=ground.env,
    ) as server:
        check_answers(server.grpc_url, peer)
        yield server.grpc_url


def _schedule(rows: Sequence[Row], rounds: int, console: Console) -> Iterator[tuple[Row, Peer, int]]:
    """Give the cells: peers of a row follow each other closely, each second round in the other order."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("measuring", total=rounds * sum(len(row.peers) for row in rows))
        for round_ in range(rounds):
            for row in rows:
                for peer in row.peers if round_ % 2 == 0 else reversed(row.peers):
                    progress.update(task, description=f"{row.title}: {peer.label}")
                    yield row, peer, round_
                    progress.advance(task)


if __name__ == "__main__":
    raise SystemExit(main())
