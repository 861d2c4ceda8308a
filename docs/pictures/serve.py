"""Draw docs/pictures/serve.svg: what ``tbsdk serve --watch`` shows, from the code that shows it."""

from __future__ import annotations

from pathlib import Path

from rich.text import Text
from terminal import svg, terminal

from triton_backend_sdk.cli.live_view import STYLES, table
from triton_backend_sdk.cli.serving import reload_lines
from triton_backend_sdk.tools.activity import Activity
from triton_backend_sdk.tools.reload import Reload
from triton_backend_sdk.tools.server import ModelStatus

TARGET = Path(__file__).with_suffix(".svg")
MODELS = [
    ModelStatus("mybackend", "1", "READY", ""),
    ModelStatus("ranker", "2", "READY", ""),
    ModelStatus("tokenizer", "1", "READY", ""),
]
RELOADS = [
    Reload("mybackend", 0.03, "reload"),
    Reload(
        "tokenizer",
        0.02,
        "reload",
        error="version 1 is at UNAVAILABLE state: Internal: NameError: name 'vocabulary' is not defined;",
        at="/home/me/tokenizer/tokenizer/plugin.py:12: <module>",
    ),
]
ACTIVITY = {
    ("mybackend", "1"): Activity(4212.7, 0.0, 0.00023, 0.00021),
    ("ranker", "2"): Activity(318.4, 1.0, 0.00314, 0.00288),
    ("tokenizer", "1"): Activity(310.0, 0.0, 0.00057, 0.00055),
}


def draw() -> str:
    """Give the picture."""
    console = terminal(96)
    console.print("[bold]$ tbsdk serve --watch mybackend ranker tokenizer[/]", highlight=False)
    console.print("[bold green]ready[/]; Ctrl-C stops; an edit is taken up at once", highlight=False)
    for name, url in {
        "http": "http://127.0.0.1:8000",
        "grpc": "127.0.0.1:8001",
        "metrics": "http://127.0.0.1:8002/metrics",
    }.items():
        console.print(f"  {name:<8} {url}", highlight=False)
    for model in MODELS:
        line = Text(f"  model    {model.name} version {model.version}  ")
        console.print(line + Text(model.state, STYLES[model.state]))
    console.print()
    for result in RELOADS:
        for line in reload_lines(result, old_answers=True):
            console.print(line, highlight=False)
    console.print(table(MODELS, ACTIVITY))
    return svg(console, "tbsdk serve", "serve")


if __name__ == "__main__":
    TARGET.write_text(draw(), encoding="utf-8")
