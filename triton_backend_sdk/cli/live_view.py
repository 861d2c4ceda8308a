"""What ``tbsdk serve`` shows while it runs: a table that changes, or lines where output is no terminal."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.live import Live
from rich.table import Table
from rich.text import Text

from triton_backend_sdk.cli import console
from triton_backend_sdk.tools.activity import Activity, Key, Meter
from triton_backend_sdk.tools.server import ModelStatus, TritonServer

_LOOK_S = 1.0
_LINES_S = 10.0
_ROWS = 20
_COLUMNS = ("model", "version", "state", "requests/s", "failures/s", "average", "median")
_FIRST_NUMBER = 3
#: In this order, until a name of so many characters has room.
_LEFT_OUT = ("median", "version", "failures/s", "average", "state")
_NAME = 12
#: Between two columns.
_GAP = 2
#: The header, the line that says how many more there are, and the cursor's.
_NOT_ROWS = 3
STYLES = {"READY": "green", "LOADING": "yellow", "UNLOADING": "yellow"}


class View:
    """Looks at the server each second; ``with`` shows what is seen.

    :param models: what was told of them before.
    """

    def __init__(self, server: TritonServer, models: Sequence[ModelStatus], *, live: bool) -> None:
        self._server = server
        self._meter = Meter(server)
        self._live = Live(console=console.err, auto_refresh=False) if live else None
        self._states = {(model.name, model.version): model.state for model in models}
        self._next = self._next_lines = 0.0

    def __enter__(self) -> View:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *raised: object) -> None:
        if self._live is not None:
            self._live.stop()

    def look(self) -> None:
        """Show what there is to show, at most once a second."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _LOOK_S
        # A server that is about to end answers no more; that it ended is told elsewhere.
        with contextlib.suppress(OSError):
            self._show(self._server.models(), now)

    def _show(self, models: Sequence[ModelStatus], now: float) -> None:
        if self._live is not None:
            width, height = console.err.size
            self._live.update(table(models, self._meter.look(), width=width, height=height), refresh=True)
            return
        for model in changed_states(models, self._states):
            console.say(f"  {model_line(model)}")
        if now >= self._next_lines:
            self._next_lines = now + _LINES_S
            for line in activity_lines(self._meter.look()):
                console.say(f"  {line}")


def changed_states(models: Sequence[ModelStatus], seen: dict[Key, str]) -> list[ModelStatus]:
    """Give the models whose state is another than the one seen before, and remember what is seen now."""
    changed = [model for model in models if seen.get((model.name, model.version)) != model.state]
    seen.clear()
    seen.update({(model.name, model.version): model.state for model in models})
    return changed


def model_line(model: ModelStatus) -> str:
    """Tell a model's state in a line."""
    reason = f": {model.reason}" if model.reason else ""
    return f"{model.name} version {model.version or '-'} is {model.state or 'not loaded'}{reason}"


def activity_lines(activity: Mapping[Key, Activity]) -> list[str]:
    """Tell what the models that had requests did, a line each."""
    return [
        f"{name} version {version}: {does.requests_per_s:.1f} requests/s, average {_ms(does.average_s)}"
        + (f", {does.failures_per_s:.1f} failures/s" if does.failures_per_s else "")
        for (name, version), does in activity.items()
        if does.requests_per_s or does.failures_per_s
    ]


def table(
    models: Sequence[ModelStatus], activity: Mapping[Key, Activity], *, width: int = 100, height: int = 50
) -> Table:
    """Draw the models, as many as there is room for; the busiest first then, and those that failed.

    Where the terminal is narrow the less important columns are left out, and long names cut.
    """
    rows = sorted(models, key=lambda model: (model.name, model.version))
    room = max(1, min(_ROWS, height - _NOT_ROWS))
    if len(rows) > room:
        rows.sort(key=lambda model: (-_rate(activity, model), not _failed(model)))
    cells = [_cells(model, activity) for model in rows[:room]]
    more = len(rows) - room
    if more > 0:
        cells.append([Text(f"and {more} more", "dim"), *[Text()] * (len(_COLUMNS) - 1)])
    wide = [max(len(name), *(row[at].cell_len for row in cells), 0) for at, name in enumerate(_COLUMNS)]
    shown = list(range(len(_COLUMNS)))
    for at in map(_COLUMNS.index, _LEFT_OUT):
        if sum(wide[each] + _GAP for each in shown) - wide[0] + min(wide[0], _NAME) > width:
            shown.remove(at)
    wide[0] = max(1, min(wide[0], width - sum(wide[each] + _GAP for each in shown[1:]) - _GAP))
    drawn = Table(header_style="bold", box=None, padding=(0, _GAP // 2))
    for at in shown:
        side: Any = "left" if at < _FIRST_NUMBER else "right"
        drawn.add_column(_COLUMNS[at], width=wide[at], no_wrap=True, overflow="ellipsis", justify=side)
    for row in cells:
        drawn.add_row(*(row[at] for at in shown))
    return drawn


def _cells(model: ModelStatus, activity: Mapping[Key, Activity]) -> list[Text]:
    does = activity.get((model.name, model.version), Activity(0, 0, None, None))
    return [
        Text(model.name),
        Text(model.version or "-"),
        Text(model.state or "not loaded", STYLES.get(model.state, "red")),
        Text(f"{does.requests_per_s:,.1f}"),
        Text(f"{does.failures_per_s:,.1f}", "red" if does.failures_per_s else "dim"),
        Text(_ms(does.average_s)),
        Text(_ms(does.median_s)),
    ]


def _failed(model: ModelStatus) -> bool:
    return model.state == "UNAVAILABLE" and model.reason != "unloaded"


def _rate(activity: Mapping[Key, Activity], model: ModelStatus) -> float:
    does = activity.get((model.name, model.version))
    return does.requests_per_s if does else 0.0


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:,.2f} ms"
