"""Every name of the stock backend's module is in some model here."""

from __future__ import annotations

import re

from tests.differential.pair import MODELS
from triton_backend_sdk.tools.migrate import names


def test_every_name_is_in_a_model():
    words = set()
    for source in MODELS.glob("*/**/*.py"):
        words |= set(re.findall(r"\w+", source.read_text()))
    methods = {method for members in names.CLASSES.values() for method in members} - {"with_traceback"}
    missing = (names.EVERY | methods) - words
    assert not missing


def test_every_model_is_asked():
    tables = "calls configs data execute imports lifecycle objects reports streams tensors"
    modules = [__import__(f"tests.differential.test_{name}", fromlist=["TABLE"]) for name in tables.split()]
    cases = [case for module in modules for case in module.TABLE]
    asked = {name for case in cases for name in (case.model, *case.needs, *case.beside)}
    assert asked == {folder.name for folder in MODELS.iterdir() if folder.is_dir()}
