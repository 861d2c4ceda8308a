"""Draw docs/pictures/serve.svg: what ``tbsdk serve --watch`` shows, from the code that shows it."""

from __future__ import annotations

import io
import re
from pathlib import Path

from rich.console import Console
from rich.text import Text

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
    console = Console(
        width=92, record=True, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
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
    picture = console.export_svg(title="tbsdk serve", unique_id="serve")
    # The fonts of whoever looks: a picture loads nothing.
    picture = re.sub(r"\s*@font-face \{.*?\}", "", picture, flags=re.DOTALL)
    return "\n".join(line.rstrip() for line in picture.splitlines()) + "\n"


if __name__ == "__main__":
    TARGET.write_text(draw(), encoding="utf-8")
