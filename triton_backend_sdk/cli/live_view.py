"""What ``tbsdk serve`` shows while it runs: a table that changes, or lines where output is no terminal."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence

from rich.live import Live
from rich.table import Table
from rich.text import Text

from triton_backend_sdk.cli import console
from triton_backend_sdk.tools.activity import Activity, Key, Meter
from triton_backend_sdk.tools.server import ModelStatus, TritonServer

_LOOK_S = 1.0
_LINES_S = 10.0
_ROWS = 20
STYLES = {"READY": "green", "LOADING": "yellow", "UNLOADING": "yellow"}


class View:
    """Looks at the server each second; ``with`` shows what is seen."""

    def __init__(self, server: TritonServer, *, live: bool) -> None:
        self._server = server
        self._meter = Meter(server)
        self._live = Live(console=console.err, auto_refresh=False) if live else None
        self._states: dict[Key, str] = {}
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
            self._live.update(table(models, self._meter.look()), refresh=True)
            return
        for model in changed_states(models, self._states):
            console.say(f"  {model_line(model)}")
        if now >= self._next_lines:
            self._next_lines = now + _LINES_S
            for line in activity_lines(self._meter.look()):
                console.say(f"  {line}")


def changed_states(models: Sequence[ModelStatus], seen: dict[Key, str]) -> list[ModelStatus]:
    """Give the models whose state is another than the one seen before; the first time there is none."""
    now = {(model.name, model.version): model.state for model in models}
    changed = [model for model in models if seen and seen.get((model.name, model.version)) != model.state]
    seen.clear()
    seen.update(now)
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


def table(models: Sequence[ModelStatus], activity: Mapping[Key, Activity]) -> Table:
    """Draw the models, the busiest first where there are many."""
    drawn = Table(header_style="bold", box=None, padding=(0, 1))
    for column in ("model", "version", "state"):
        drawn.add_column(column, no_wrap=True, overflow="ellipsis")
    for column in ("requests/s", "failures/s", "average", "median"):
        drawn.add_column(column, no_wrap=True, justify="right")
    rows = sorted(models, key=lambda model: (model.name, model.version))
    if len(rows) > _ROWS:
        rows.sort(key=lambda model: -_rate(activity, model))
    for model in rows[:_ROWS]:
        does = activity.get((model.name, model.version), Activity(0, 0, None, None))
        drawn.add_row(
            model.name,
            model.version or "-",
            Text(model.state or "not loaded", STYLES.get(model.state, "red")),
            f"{does.requests_per_s:,.1f}",
            Text(f"{does.failures_per_s:,.1f}", "red" if does.failures_per_s else "dim"),
            _ms(does.average_s),
            _ms(does.median_s),
        )
    if len(rows) > _ROWS:
        drawn.add_row(Text(f"and {len(rows) - _ROWS} more", "dim"))
    return drawn


def _rate(activity: Mapping[Key, Activity], model: ModelStatus) -> float:
    does = activity.get((model.name, model.version))
    return does.requests_per_s if does else 0.0


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:,.2f} ms"
