"""What the guides in docs/ say is so: links lead somewhere, all plugins and models shown answer in the real core.

A plugin, or a model.py for the ready-made backend, is served with one input IN and one output OUT, FP32 of any size, batches up to 8, and asked with 1, 2, 3.
Where that does not fit, a comment in the line above the block says what does, as JSON: what the fixture ``serve``
takes, ``ask`` (inputs), ``options`` (infer's), ``gives`` (outputs), and ``also``, models that it calls, which give their
input back: name to names of input and output::

    <!-- run: {"batch": 0, "extra": "model_transaction_policy { decoupled: true }", "gives": {"OUT": [1, 2]}} -->

or ``<!-- not run: why -->``.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from tests.python_backend.conftest import python_backends, serve_model  # noqa: F401  fixtures
from tests.runtime.conftest import serve  # noqa: F401  the fixture
from triton_backend_sdk.dtypes import DataType

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").glob("*.md"))
ECHO = """
@hookimpl
def execute(requests):
    return [Response({{"{made}": request["{given}"]}}) for request in requests]
"""
_BLOCK = re.compile(r"^(?:<!-- (run|not run): (.*?) -->\n+)?```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
_SERVED = re.compile(r"^\s*(async )?def execute\(|PythonModelPlugin", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def shown():
    """Give what can be served: whether it is a model.py, the text, and what is said of it."""
    for page in PAGES:
        for number, (verb, how, block) in enumerate(_BLOCK.findall(page.read_text())):
            if _SERVED.search(block) and verb != "not run":
                model_py = "triton_backend_sdk" not in block
                yield pytest.param(model_py, block, json.loads(how or "{}"), id=f"{page.stem}-{number}")


def anchors(page: Path) -> set[str]:
    """Give the anchors that a page's headings get."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for link in _LINK.findall(text):
        if re.match(r"https?:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize(("model_py", "block", "how"), list(shown()))
def test_all_that_is_shown_answers(request, model_py, block, how):
    start = request.getfixturevalue("serve_model" if model_py else "serve")
    options = {
        key: {name: tuple(spec) for name, spec in how.pop(key).items()}
        for key in ("inputs", "outputs")
        if key in how
    }
    ask, gives = how.pop("ask", {"IN": [1, 2, 3]}), how.pop("gives", {})
    more = how.pop("options", {})
    also = how.pop("also", {})
    options = {"batch": 8, **options, **how}
    for name, (given, made) in also.items():
        spec = {
            "inputs": {given: ("FP32", [-1])},
            "outputs": {made: ("FP32", [-1])},
            "batch": options["batch"],
        }
        helper = start(ECHO.format(given=given, made=made), load=False, **spec)
        (helper.repository / helper.name).rename(helper.repository / name)
    served = start(block, load=not also, **options)
    for name in also:
        served.core.load(name)
    if also:
        served.core.load(served.name)
    inputs = {}
    for name, values in ask.items():
        dtype = DataType.of(options.get("inputs", {"IN": ("FP32",)})[name][0])
        array = np.array(values, object if dtype is DataType.BYTES else dtype.numpy())
        inputs[name] = array[None] if options["batch"] else array
    if "decoupled: true" in options.get("extra", ""):
        results = list(served.core.stream(served.name, inputs, timeout=20, **more))
    else:
        results = [served.infer(inputs, **more)]
    assert results
    for name in gives or {"OUT": None}:
        given = [np.asarray(result[name]).tolist() for result in results]
        if gives:
            assert given == (gives[name] if len(results) > 1 else [gives[name]])


def test_every_page_is_linked_from_the_readme():
    linked = set(_LINK.findall((ROOT / "README.md").read_text()))
    assert [page.name for page in PAGES if f"docs/{page.name}" not in linked] == []
