"""The plots: how many times the stock backend's requests/s each row reaches, and memory over requests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from benchmarks.rows import COMPAT, FLOOR, STOCK

if TYPE_CHECKING:
    from benchmarks.report import Line

_INK, _GREY, _OURS, _COMPAT = "#24292f", "#8c959f", "#1a7f5a", "#bf5b04"
_TICKS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


def draw(lines: Sequence[Line], target: Path) -> None:
    """Draw each one's requests/s as multiples of the stock backend's, in log scale."""
    rates = [line for line in lines if line.metric == "rate"][::-1]
    ours = [line.ratio(STOCK.key) for line in rates]
    floor, compat = _multiples(rates, FLOOR.key), _multiples(rates, COMPAT.key)
    height = 1.1 + 0.38 * len(rates)
    figure, axes = plt.subplots(figsize=(10, height), dpi=160)
    figure.subplots_adjust(left=0.345, right=0.685, top=1 - 0.8 / height, bottom=0.35 / height)
    axes.hlines(range(len(rates)), 1, ours, color=_OURS, linewidth=10)
    axes.plot(floor, range(len(rates)), "|", markersize=17, markeredgewidth=2.5, color=_INK, zorder=3)
    axes.plot(compat, range(len(rates)), "D", markersize=6, color=_COMPAT, zorder=4)
    axes.axvline(1, color=_GREY, linewidth=1.5, zorder=1)
    axes.set_yticks(range(len(rates)), [line.title for line in rates])
    _scale(axes, max(value for value in (*ours, *floor, *compat) if not math.isnan(value)))
    _columns(axes, ours, compat, floor)
    title = "Requests per second (of streams: responses), stock Python backend = 1"
    figure.suptitle(
        title, x=0.01, y=1 - 0.1 / height, horizontalalignment="left", color=_INK, fontweight="bold"
    )
    figure.savefig(target, facecolor="white", metadata={"Software": None})
    plt.close(figure)


def _multiples(rates: Sequence[Line], key: str) -> list[float]:
    return [line.medians.get(key, math.nan) / line.medians[STOCK.key] for line in rates]


def _scale(axes: Axes, largest: float) -> None:
    axes.set_xscale("log")
    axes.set_xlim(0.95, largest * 1.15)
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in _TICKS if tick < 1.15 * largest]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}x"))
    _plain(axes, "x")


def _plain(axes: Axes, grid: Literal["x", "y"]) -> None:
    axes.tick_params(length=0, colors=_INK)
    axes.grid(axis=grid, color="#d8dee4", linewidth=0.8)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _columns(axes: Axes, ours: Sequence[float], compat: Sequence[float], floor: Sequence[float]) -> None:
    """Write the numbers right of the bars, under the names that serve as the legend."""
    for place, header, color, values in (
        (1.2, "\u25ac this SDK", _OURS, ours),
        (1.62, "\u25c6 same model.py", _COMPAT, compat),
        (1.87, "| C floor", _INK, floor),
    ):
        style: dict[str, Any] = {
            "color": color,
            "transform": axes.get_yaxis_transform(),
            "ha": "right",
            "va": "center_baseline",
        }
        axes.text(place, len(values) - 0.15, header, fontweight="bold", **style)
        for height, value in enumerate(values):
            axes.text(place, height, _multiple(value), **style)


def _multiple(value: float) -> str:
    if math.isnan(value):
        return ""
    return f"{value:,.0f}x" if value >= 10 else f"{value:.1f}x"


def draw_memory(points: Sequence[tuple[int, int]], target: Path) -> None:
    """Draw the server's resident memory over the requests it has answered."""
    figure, axes = plt.subplots(figsize=(9, 2.6), dpi=160, layout="constrained")
    axes.plot(
        [done / 1e6 for done, _ in points], [rss / 2**20 for _, rss in points], color=_OURS, linewidth=2
    )
    axes.set_ylim(0, 1.25 * max(rss for _, rss in points) / 2**20)
    axes.set_xlim(0, points[-1][0] / 1e6)
    axes.set_xlabel("million requests", color=_INK)
    axes.set_ylabel("resident MiB", color=_INK)
    _plain(axes, "y")
    figure.savefig(target, facecolor="white", metadata={"Software": None})
    plt.close(figure)
