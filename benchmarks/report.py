"""The results: medians over the rounds, ratios and targets, on the screen, as Markdown, JSON and a plot."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a file: the package is found from the folder above
    sys.path.insert(0, str(Path(__file__).parent.parent))

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.perf import Sample
from benchmarks.rows import BATCHED, FLOOR, IDEAL, OURS, ROWS, STOCK, Peer, Row, Target

#: The samples of each cell, in the order of the rounds.
Samples = dict[tuple[Row, Peer], list[Sample]]
#: What results.json holds: "machine", "settings", and "rows": row -> peer -> metric -> the rounds' values.
Results = dict[str, Any]

_HEADER = ("work", "stock", "this SDK", "C floor", "SDK / stock", "SDK / floor")


@dataclass(frozen=True)
class Line:
    """A line of the table: one metric of one row, for one of our ways to write the plugin."""

    row: Row
    metric: str
    peer: Peer
    medians: Mapping[str, float]

    @property
    def title(self) -> str:
        """Give the first cell."""
        return self.row.title + (", @batched" if self.peer is BATCHED else "")

    def ratio(self, other: str) -> float:
        """Give our median over the other peer's: below 1 is better for a latency, above 1 for a rate."""
        return self.medians[self.peer.key] / self.medians[other]

    def cells(self) -> tuple[str, ...]:
        """Give the texts of the table's columns."""
        values = [self._value(key) for key in (STOCK.key, self.peer.key, FLOOR.key)]
        ratios = [_times(self.ratio(key)) if key in self.medians else "" for key in (STOCK.key, FLOOR.key)]
        return (self.title, *values, *ratios)

    def _value(self, key: str) -> str:
        if key not in self.medians:
            return f"ideal {self._value(IDEAL)}" if IDEAL in self.medians else ""
        return microseconds(self.medians[key]) if self.metric == "p50" else f"{self.medians[key]:,.0f}/s"

    def verdicts(self) -> Iterator[tuple[bool, str]]:
        """Give each target of this line: whether it was reached, and in words."""
        for target in self.row.targets if self.peer is OURS else ():
            if target.metric == self.metric:
                reached, words = self._verdict(target)
                yield reached, f"{self.title}: {'p50' if self.metric == 'p50' else self.row.unit} {words}"

    def _verdict(self, target: Target) -> tuple[bool, str]:
        if target.peer is None:
            value = self.medians[self.peer.key]
            words = f"{microseconds(value)}, target {target.sign} {target.limit:g} us"
        else:
            value = self.ratio(target.peer)
            words = f"{_times(value)} of {target.peer}, target {target.sign} {target.limit:g}x"
        return target.reached(value), words


def collect(samples: Samples, machine: Mapping[str, str], rounds: int, window_ms: int) -> Results:
    """Put all samples into the form that is written."""
    rows: dict[str, dict[str, dict[str, list[float]]]] = {}
    for (row, peer), values in samples.items():
        rows.setdefault(row.key, {})[peer.key] = {
            "rate": [round(sample.rate, 1) for sample in values],
            "p50_us": [round(sample.p50_us, 2) for sample in values],
            "p99_us": [round(sample.p99_us, 2) for sample in values],
        }
    return {"machine": dict(machine), "settings": {"rounds": rounds, "window_ms": window_ms}, "rows": rows}


def lines(results: Results) -> list[Line]:
    """Give the lines of the table."""
    return [line for row in ROWS for line in _row_lines(row, results["rows"].get(row.key, {}))]


def _row_lines(row: Row, peers: Mapping[str, Mapping[str, Sequence[float]]]) -> Iterator[Line]:
    for peer in (OURS, BATCHED):
        for metric in row.metrics if peer.key in peers else ():
            name = "p50_us" if metric == "p50" else "rate"
            medians = {key: statistics.median(peers[key][name]) for key in peers}
            if row.ideal_rate is not None and metric == "rate":
                medians[IDEAL] = row.ideal_rate
            yield Line(row, metric, peer, medians)


def microseconds(value: float) -> str:
    """Write a time in the unit that fits."""
    if value >= 1000:
        return f"{value / 1000:.2f} ms"
    return f"{value:.1f} us" if value < 100 else f"{value:.0f} us"


def _times(ratio: float) -> str:
    return f"{ratio:.3f}x" if ratio < 1 else f"{ratio:.2f}x"


def show(results: Results, console: Console) -> None:
    """Print the table and the targets."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    for column in _HEADER:
        table.add_column(column, justify="left" if column == _HEADER[0] else "right")
    for line in lines(results):
        table.add_row(*line.cells())
    console.print(table)
    for line in lines(results):
        for reached, text in line.verdicts():
            console.print(f" [{'green' if reached else 'red'}]{_word(reached):<8}[/]{text}")


def _word(reached: bool) -> str:
    return "reached" if reached else "missed"


def markdown(results: Results) -> str:
    """Write table, targets and the machine for people."""
    settings = results["settings"]
    text = ["| " + " | ".join(_HEADER) + " |", "|---|" + "---:|" * (len(_HEADER) - 1)]
    text += ["| " + " | ".join(line.cells()) + " |" for line in lines(results)]
    text += [
        "",
        "Times are median latencies: less is better. Rates are requests per second, of streams responses per "
        "second: more is better.",
        "",
    ]
    text += [f"- {_word(reached)}: {words}" for line in lines(results) for reached, words in line.verdicts()]
    text += [
        "",
        f"Medians of {settings['rounds']} rounds, in each the backends in turn, 3 windows of "
        f"{settings['window_ms']} ms each time. "
        + ", ".join(f"{name} {value}" for name, value in results["machine"].items())
        + ".",
    ]
    return "\n".join(text) + "\n"


def write(results: Results, directory: Path) -> None:
    """Write results.json, results.md and results.png."""
    from benchmarks.plot import draw  # noqa: PLC0415  # matplotlib is slow to import

    directory.mkdir(parents=True, exist_ok=True)
    (directory / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    (directory / "results.md").write_text(markdown(results), encoding="utf-8")
    draw(lines(results), directory / "results.png")


#: Between them the README shows the table.
_MARKS = ("<!-- results: benchmarks/results/results.md -->", "<!-- end of results -->")


def show_in_readme(results: Results, readme: Path) -> None:
    """Put the table between the marks that the README keeps for it."""
    text = readme.read_text(encoding="utf-8")
    before, rest = text.split(_MARKS[0])
    after = rest.split(_MARKS[1])[1]
    readme.write_text(f"{before}{_MARKS[0]}\n{markdown(results)}{_MARKS[1]}{after}", encoding="utf-8")


if __name__ == "__main__":
    folder = Path(__file__).parent / "results"
    write(json.loads((folder / "results.json").read_text(encoding="utf-8")), folder)
