"""docs/serve.md: its commands exist, its Python runs, its picture is what the code shows."""

import re
import shlex
from pathlib import Path

import click
import pytest
import yaml

from triton_backend_sdk.cli import cli
from triton_backend_sdk.cli.serve import command
from triton_backend_sdk.cli.server_flags import options_of
from triton_backend_sdk.tools.server_options import checks
from triton_backend_sdk.tools.server_options.options import ServerOptions

DOCS = Path(__file__).parent.parent / "docs"
PAGE = (DOCS / "serve.md").read_text()
COMMANDS = re.findall(r"^    (tbsdk serve\b.*?)\s*(?:#.*)?$", PAGE, re.MULTILINE)
OWN = {param.name for param in command.params if type(param).__name__ != "FlagOption"}


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_are_understood(line):
    parent = click.Context(cli, **cli.context_settings)  # from it a command learns of -h, and never forgets
    context = command.make_context("serve", shlex.split(line)[2:], parent)
    flags = {name: value for name, value in context.params.items() if name not in OWN}
    options = options_of(flags, context.obj, strict=True, warn=pytest.fail)
    faults = checks.faults(options.replaced(model_repository="s3://some/where"))
    assert faults == []


def test_there_are_commands():
    assert len(COMMANDS) > 10


def test_the_options_file_is_one():
    [block] = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    options = ServerOptions.from_dict(yaml.safe_load(block))
    assert checks.faults(options.replaced(model_repository="s3://some/where")) == []


def test_the_python_runs(tmp_path, monkeypatch, capsys):
    [block] = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "models").mkdir()
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "serve.md", "exec"), {})
    assert re.match(
        r"127\.0\.0\.1:\d+ 127\.0\.0\.1:\d+ http://127\.0\.0\.1:\d+/metrics\n", capsys.readouterr().out
    )
