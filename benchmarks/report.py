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
from benchmarks.rows import BATCHED, COMPAT, FLOOR, IDEAL, OURS, ROWS, STOCK, Peer, Row, Target

#: The samples of each cell, in the order of the rounds.
Samples = dict[tuple[Row, Peer], list[Sample]]
#: What results.json holds: "machine", "settings", and "rows": row -> peer -> metric -> the rounds' values.
Results = dict[str, Any]
#: A header and its rows.
_Table = tuple[Sequence[str], Sequence[Sequence[str]]]

_HEADER = ("work", "stock", "this SDK", "C floor", "SDK / stock", "SDK / floor")
_MODEL_PY_HEADER = ("the same model.py", "stock", "in-process", "in-process / stock", "as a plugin")
_UNITS = (
    "Times are median latencies: less is better. Rates are requests per second, of streams responses per "
    "second: more is better."
)
#: What stands after a row's title for what is no plain plugin.
_SUFFIX = {BATCHED.key: ", @batched", COMPAT.key: ", the same model.py"}


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
        return self.row.title + _SUFFIX.get(self.peer.key, "")

    def ratio(self, other: str) -> float:
        """Give our median over the other peer's: below 1 is better for a latency, above 1 for a rate."""
        return self.medians[self.peer.key] / self.medians[other]

    def cells(self) -> tuple[str, ...]:
        """Give the texts of the table's columns."""
        values = [self._value(key) for key in (STOCK.key, self.peer.key, FLOOR.key)]
        ratios = [_times(self.ratio(key)) if key in self.medians else "" for key in (STOCK.key, FLOOR.key)]
        return (self.title, *values, *ratios)

    def model_py_cells(self) -> tuple[str, ...]:
        """Give the texts of the columns of the other table: the same model.py on both backends."""
        values = [self._value(key) for key in (STOCK.key, COMPAT.key)]
        return (self.row.title, *values, _times(self.ratio(STOCK.key)), self._value(OURS.key))

    def _value(self, key: str) -> str:
        if key not in self.medians:
            return f"ideal {self._value(IDEAL)}" if IDEAL in self.medians else ""
        return microseconds(self.medians[key]) if self.metric == "p50" else f"{self.medians[key]:,.0f}/s"

    def verdicts(self) -> Iterator[tuple[bool, str]]:
        """Give each target of this line: whether it was reached, and in words."""
        for target in self.row.targets:
            if target.of == self.peer.key and target.metric == self.metric:
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
    return list(_lines(results, (OURS, BATCHED)))


def model_py_lines(results: Results) -> list[Line]:
    """Give the lines of the table of what runs a model.py."""
    return list(_lines(results, (COMPAT,)))


def _lines(results: Results, peers: Sequence[Peer]) -> Iterator[Line]:
    for row in ROWS:
        yield from _row_lines(row, peers, results["rows"].get(row.key, {}))


def _row_lines(
    row: Row, chosen: Sequence[Peer], measured: Mapping[str, Mapping[str, Sequence[float]]]
) -> Iterator[Line]:
    for peer in chosen:
        for metric in row.metrics if peer.key in measured else ():
            name = "p50_us" if metric == "p50" else "rate"
            medians = {key: statistics.median(measured[key][name]) for key in measured}
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
    """Print the tables and the targets."""
    for header, rows in (_plugin_table(results), _model_py_table(results)):
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
        for column in header:
            table.add_column(column, justify="left" if column == header[0] else "right")
        for cells in rows:
            table.add_row(*cells)
        console.print(table)
    for line in (*lines(results), *model_py_lines(results)):
        for reached, text in line.verdicts():
            console.print(f" [{'green' if reached else 'red'}]{_word(reached):<8}[/]{text}")


def _plugin_table(results: Results) -> _Table:
    return _HEADER, [line.cells() for line in lines(results)]


def _model_py_table(results: Results) -> _Table:
    return _MODEL_PY_HEADER, [line.model_py_cells() for line in model_py_lines(results)]


def _word(reached: bool) -> str:
    return "reached" if reached else "missed"


def markdown(results: Results) -> str:
    """Write tables, targets and the machine for people."""
    targets = _targets((*lines(results), *model_py_lines(results)))
    tables = _markdown_table(_plugin_table(results)), _markdown_table(_model_py_table(results))
    return "\n\n".join((*tables, _UNITS, targets, _circumstances(results))) + "\n"


def model_py_markdown(results: Results) -> str:
    """Write what concerns the same model.py on both backends."""
    targets = _targets(model_py_lines(results))
    table = _markdown_table(_model_py_table(results))
    return "\n\n".join((table, _UNITS, targets, _circumstances(results))) + "\n"


def _markdown_table(table: _Table) -> str:
    header, rows = table
    text = ["| " + " | ".join(header) + " |", "|---|" + "---:|" * (len(header) - 1)]
    return "\n".join(text + ["| " + " | ".join(cells) + " |" for cells in rows])


def _targets(chosen: Sequence[Line]) -> str:
    return "\n".join(f"- {_word(reached)}: {words}" for line in chosen for reached, words in line.verdicts())


def _circumstances(results: Results) -> str:
    settings = results["settings"]
    machine = ", ".join(f"{name} {value}" for name, value in results["machine"].items())
    return (
        f"Medians of {settings['rounds']} rounds, in each the backends in turn, 3 windows of "
        f"{settings['window_ms']} ms each time. {machine}."
    )


def write(results: Results, directory: Path) -> None:
    """Write results.json, the tables and results.png."""
    from benchmarks.plot import draw  # noqa: PLC0415  # matplotlib is slow to import

    directory.mkdir(parents=True, exist_ok=True)
    (directory / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    for name, render in PAGES.values():
        (directory / name).write_text(render(results), encoding="utf-8")
    draw(lines(results), directory / "results.png")


def show_in_pages(results: Results, root: Path) -> None:
    """Put the tables between the marks that the README and the guide keep for them."""
    for page, (name, render) in PAGES.items():
        mark, end = MARKS[0].format(name), MARKS[1]
        text = (root / page).read_text(encoding="utf-8")
        before, rest = text.split(mark)
        after = rest.split(end, 1)[1]
        (root / page).write_text(f"{before}{mark}\n{render(results)}{end}{after}", encoding="utf-8")


#: What each page shows between marks: the file in results/, and what writes it.
PAGES = {
    "README.md": ("results.md", markdown),
    "docs/python-models.md": ("python-models.md", model_py_markdown),
}
MARKS = ("<!-- results: benchmarks/results/{} -->", "<!-- end of results -->")


if __name__ == "__main__":
    folder = Path(__file__).parent / "results"
    measured = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    write(measured, folder)
    show_in_pages(measured, folder.parent.parent)
