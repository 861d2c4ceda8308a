import subprocess
import sys

import pytest
from click.testing import CliRunner

from triton_backend_sdk import cli

PAGES = [
    [],
    *([name] for name in cli.COMMANDS),
    ["bento", "export"],
    ["bento", "serve"],
    ["server", "install"],
    ["server", "path"],
    ["server", "version"],
]


def page(words):
    result = CliRunner().invoke(cli.cli, [*words, "--help"], prog_name="tbsdk", terminal_width=88)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("words", PAGES, ids="-".join)
def test_help_is_golden(words, golden):
    golden(f"help/{'-'.join(['tbsdk', *words])}.txt", page(words))


@pytest.mark.parametrize("words", PAGES, ids="-".join)
def test_help_shows_examples(words):
    assert "\n  Examples:\n" in page(words)


def test_help_imports_no_command_and_nothing_heavy():
    program = (
        "import sys; from triton_backend_sdk import cli; cli.run(['--help'])\n"
        "heavy = ('triton_backend_sdk.cli.', 'rich', 'numpy', 'tritonclient')\n"
        "print([name for name in sys.modules if name.startswith(heavy)])"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines()[-1] == "[]"
