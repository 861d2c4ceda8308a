"""docs/pictures: each is what the code shows."""

import importlib
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"
PICTURES = sorted((DOCS / "pictures").glob("*.svg"))


def words(picture):
    return re.findall(r"<text[^>]*>([^<]*)</text>", picture)


@pytest.mark.parametrize("file", PICTURES, ids=lambda file: file.stem)
def test_a_picture_is_current_and_shown(file, request, monkeypatch):
    monkeypatch.syspath_prepend(str(file.parent))
    spec = importlib.util.spec_from_file_location(f"picture_{file.stem}", file.with_suffix(".py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    drawn = module.draw()

    if request.config.getoption("--update-golden"):
        file.write_text(drawn, encoding="utf-8")
    # The words: their shapes are those of the installed version of rich.
    assert words(drawn) == words(file.read_text()), f"python {file.with_suffix('.py')} draws it anew"
    assert "@font-face" not in drawn
    assert any(f"(pictures/{file.name})" in page.read_text() for page in DOCS.glob("*.md"))


def test_there_are_pictures():
    assert [file.stem for file in PICTURES] == ["check", "runner", "serve"]
