"""docs/runner.md is so: its blocks run one after the other, as a reader would type them."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import shlex
from pathlib import Path

PAGE = Path(__file__).parent.parent.parent / "docs" / "runner.md"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_all_blocks_of_the_guide_run(repository, backends, monkeypatch):
    monkeypatch.chdir(repository.parent)
    monkeypatch.setenv("TBSDK_RUNNER_OPTIONS", shlex.join([f"backend-directory={backends}"]))
    text = PAGE.read_text()
    names: dict[str, object] = {}

    async def run():
        for match in BLOCK.finditer(text):
            line = text[: match.start(1)].count("\n")
            flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
            code = compile("\n" * line + match[1], str(PAGE), "exec", flags)
            done = eval(code, names)
            if inspect.iscoroutine(done):
                await done

    try:
        asyncio.run(run())
    finally:
        for name in ("runner", "other", "core"):
            if name in names:
                names[name].close()


def test_the_guide_names_all_client_methods_and_options():
    from tests.runner.test_client_methods import METHODS
    from triton_backend_sdk.runner.model import OPTIONS

    text = PAGE.read_text()
    for name in (*METHODS, *OPTIONS):
        assert re.search(rf"`[^`]*\b{name}\b", text), name
