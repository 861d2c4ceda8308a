"""Draw docs/pictures/serve.svg: what ``tbsdk serve --watch`` shows, from the code that shows it."""

from __future__ import annotations

from pathlib import Path

from rich.text import Text
from terminal import svg, terminal

from triton_backend_sdk.cli.live_view import model_line, table
from triton_backend_sdk.tools.activity import Activity
from triton_backend_sdk.tools.server import ModelStatus

TARGET = Path(__file__).with_suffix(".svg")
MODELS = [
    ModelStatus("mybackend", "1", "READY", ""),
    ModelStatus("ranker", "2", "READY", ""),
    ModelStatus("tokenizer", "1", "UNAVAILABLE", "NameError: name 'vocabulary' is not defined"),
]
ACTIVITY = {
    ("mybackend", "1"): Activity(4212.7, 0.0, 0.00023, 0.00021),
    ("ranker", "2"): Activity(318.4, 1.0, 0.00314, 0.00288),
}


def draw() -> str:
    """Give the picture."""
    console = terminal()
    console.print("[bold]$ tbsdk serve --watch[/]", highlight=False)
    console.print("[bold green]ready[/]; Ctrl-C stops; an edit is taken up at once", highlight=False)
    for name, url in {
        "http": "http://127.0.0.1:8000",
        "grpc": "127.0.0.1:8001",
        "metrics": "http://127.0.0.1:8002/metrics",
    }.items():
        console.print(f"  {name:<8} {url}", highlight=False)
    console.print("mybackend: reloaded in 0.21 s", highlight=False)
    console.print(Text(f"  {model_line(MODELS[2])}", "red"))
    console.print()
    console.print(table(MODELS, ACTIVITY))
    return svg(console, "tbsdk serve", "serve")


if __name__ == "__main__":
    TARGET.write_text(draw(), encoding="utf-8")
