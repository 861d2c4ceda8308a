"""docs/check.md: its commands exist, its table is that of the rules, its example of CI runs."""

import re
import shlex
from pathlib import Path

import click
import pytest
import yaml

from tests.tools.check_repositories.alone import ALONE
from tests.tools.check_repositories.cases import TOGETHER
from triton_backend_sdk.cli import cli
from triton_backend_sdk.tools.check.engine import rules

PAGE = Path(__file__).parent.parent / "docs" / "check.md"
TEXT = PAGE.read_text()
COMMANDS = re.findall(
    r"^    (?:.*\| )?(tbsdk (?:check|new|explain)\b.*?)\s*(?:#.*|\|.*)?$", TEXT, re.MULTILINE
)
ROW = re.compile(r"^\| C\d\d \|.*\n", re.MULTILINE)
NOTICES = {
    "poll": "reading the repository",
    "tensors": "reading the repository, or loading the model",
    "load": "loading the model",
    "request": "at every request",
    "ours": "never, or in other words",
}


def workflow():
    [block] = re.findall(r"^```yaml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    return yaml.safe_load(block)["jobs"]["check"]["steps"]


def words_of_ci():
    [line] = [step["run"] for step in workflow() if "tbsdk" in step.get("run", "")]
    return line


@pytest.mark.parametrize("line", [*COMMANDS, words_of_ci()])
def test_commands_are_understood(line):
    _, name, *words = shlex.split(line)
    parent = click.Context(cli, **cli.context_settings)  # from it a command learns of -h, and never forgets
    assert cli.get_command(parent, name).make_context(name, words, parent).params


def test_there_are_commands():
    assert len(COMMANDS) > 8


def test_the_table_is_that_of_the_rules(request):
    rows = "".join(
        f"| {rule.id} | {rule.severity} | {rule.summary} | {NOTICES[rule.phase]} |\n"
        for rule in rules().values()
    )
    head = "|---|---|---|---|\n"
    if request.config.getoption("--update-golden"):
        PAGE.write_text(ROW.sub("", TEXT).replace(head, head + rows))
    assert "".join(ROW.findall(PAGE.read_text())) == rows, "pytest --update-golden writes it anew"


def test_the_ci_uploads_what_was_written():
    upload = workflow()[-1]
    assert f"--sarif {upload['with']['sarif_file']}" in words_of_ci()
    assert upload["if"] == "always()"  # check fails the step before


def test_so_many_repositories_are_compared_with_the_server():
    assert len(TOGETHER) + len(ALONE) > int(re.search(r"more than (\d+) broken and sound", TEXT)[1])
