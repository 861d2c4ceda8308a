"""Draw docs/pictures/check.svg: what ``tbsdk check`` and ``--fix`` say of two broken models."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

from terminal import svg, terminal

from triton_backend_sdk.cli import console, run

TARGET = Path(__file__).with_suffix(".svg")
FILES = {
    "detector/config.pbtxt": 'backend: "onnxruntime"\nmax_batchsize: 8\n',
    "detector/1/model.onnx": "",
    "ocr/config.pbtxt": 'backend: "python"\n',
    "ocr/01/model.py": "class TritonPythonModel:\n    def execute(self, requests): ...\n",
}


def draw() -> str:
    """Give the picture."""
    shown = terminal(width=106)
    with _models(), patch.multiple(console, out=shown, err=shown):
        for words in ("check models --no-server", "check models --no-server --fix"):
            shown.print(f"[bold]$ tbsdk {words}[/]", highlight=False)
            status = run(words.split())
            shown.print(f"[dim]exit status {status}[/]\n", highlight=False)
    return svg(shown, "tbsdk check", "check")


@contextlib.contextmanager
def _models() -> Iterator[None]:
    """Go where they are, as the picture shows paths."""
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            for name, text in FILES.items():
                file = Path("models", name)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text, encoding="utf-8")
            yield
        finally:
            os.chdir(here)


if __name__ == "__main__":
    TARGET.write_text(draw(), encoding="utf-8")
