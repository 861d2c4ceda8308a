"""tritonserver's flags as options of ``tbsdk serve``."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner

from triton_backend_sdk import cli
from triton_backend_sdk.cli import serving
from triton_backend_sdk.cli.serve import command
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.server_options.deprecated import DEPRECATED
from triton_backend_sdk.tools.server_options.flags import GROUPS
from triton_backend_sdk.tools.server_options.options import flags

ROOT = Path(__file__).parents[2]


@pytest.fixture
def options(monkeypatch):
    """Give ``options(*words)``: what the command line amounts to, without serving anything."""
    seen = []

    class Seen:
        def __init__(self, paths, options, **more):
            seen.append((paths, options, more))

        def run(self):
            pass

    monkeypatch.setattr(serving, "Serving", Seen)

    def read(*words):
        cli.run(["serve", *map(str, words)])
        return seen[-1][1]

    return read


def test_every_flag_is_an_option():
    names = {param.opts[0].removeprefix("--") for param in command.params if isinstance(param, click.Option)}
    assert {flag.name for flag in flags().values()} | set(DEPRECATED) <= names


def test_help_has_the_groups_of_tritonserver_and_each_flag_once():
    text = CliRunner().invoke(cli.cli, ["serve", "--help"], prog_name="tbsdk").output
    at = [text.index(f"\ntritonserver, {group}:") for group in GROUPS]
    assert at == sorted(at)
    rows = [line.split()[0] for line in text.splitlines() if line.startswith("  --")]
    assert sorted(set(rows) & {f"--{flag.name}" for flag in flags().values()}) == sorted(
        f"--{flag.name}" for flag in flags().values()
    )
    assert len(rows) == len(set(rows))
    assert "--strict-model-config" not in text


def test_flags_become_options(options):
    given = options(
        *("--log-verbose", "1", "--allow-metrics=off", "--disable-auto-complete-config"),
        *(
            "--backend-config=python,a=b",
            "--backend-config",
            "python,c=d",
            "--load-model=x",
            "--load-model=y",
        ),
        *("--model-control-mode=explicit", "--cuda-memory-pool-byte-size=0:5"),
    )
    assert given.to_dict() == {
        "log_verbose": 1,
        "disable_auto_complete_config": True,
        "model_control_mode": "explicit",
        "load_model": ["x", "y"],
        "allow_metrics": False,
        "backend_config": {"python": {"a": "b", "c": "d"}},
        "cuda_memory_pool_byte_size": {0: 5},
    }


def test_what_stands_after_dashes_is_a_command_line_of_tritonserver(options):
    given = options(
        *("--log-verbose=1", "--backend-config=a,b=c", "--", "/opt/tritonserver/bin/tritonserver"),
        *(
            "--model-repository",
            "models",
            "--model-repository=more",
            "--log-verb",
            "2",
            "--allow-http",
            "off",
        ),
        *("--backend-config=d,e=f", "--disable-auto", "--trace-rate=5"),
    )
    assert given.to_dict() == {
        "model_repository": ["models", "more"],
        "log_verbose": 2,
        "disable_auto_complete_config": True,
        "allow_http": False,
        "trace_config": {"": {"rate": "5"}},
        "backend_config": {"a": {"b": "c"}, "d": {"e": "f"}},
    }
    assert options("--").to_dict() == {}


@pytest.mark.parametrize(
    ("pasted", "says"),
    [
        (["project"], "Unexpected argument: project"),
        (["other-server", "--log-verbose=1"], "Unexpected argument: other-server"),
        (["--http-prt=1"], "tritonserver has no option --http-prt; did you mean --http-port"),
        (["--http-port"], "--http-port needs a value"),
        (["--http-port", "1x"], "tritonserver would take it for 1"),
    ],
)
def test_what_is_wrong_after_dashes_is_told(options, pasted, says):
    with pytest.raises(HandledError, match=says) as caught:
        options("--", *pasted)
    assert "after -- stand tritonserver's flags" in str(caught.value.next_step)


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("--http-port=18110x", "tritonserver would take it for 18110"),
        ("--allow-http=maybe", "invalid value for bool option: maybe"),
        ("--log-format=json", "'json'; it can be default, ISO8601"),
        ("--cache-config=size=1", "No cache specified"),
        ("--log-verbos=1", "log-verbose"),
    ],
)
def test_wrong_values_are_refused_with_the_option(word, says):
    result = CliRunner().invoke(cli.cli, ["serve", word], prog_name="tbsdk")
    assert result.exit_code == 2
    assert says in result.output


def test_old_flags_are_translated_with_a_warning(options, capsys):
    given = options("--strict-model-config=true", "--trace-rate=5", "--trace-config=level=TIMESTAMPS")
    assert given.disable_auto_complete_config is True
    assert given.trace_config == {"": {"rate": "5", "level": "TIMESTAMPS"}}
    assert "warning: --strict-model-config is deprecated" in capsys.readouterr().err
    with pytest.raises(HandledError, match="--trace-rate is deprecated"):
        options("--trace-rate=5", "--strict")


def test_a_file_of_options_and_flags_over_it(options, tmp_path, capsys):
    (tmp_path / "a.yaml").write_text("http-port: 7000\nlog-verbose: 1\nmodel-store: models\n")
    given = options("--config", tmp_path / "a.yaml", "--http-port=7001")
    assert (given.http_port, given.log_verbose) == (7001, 1)
    assert given.model_repository == [tmp_path / "models"]
    assert "--model-store is deprecated" in capsys.readouterr().err
    with pytest.raises(HandledError, match="--model-store is deprecated"):
        options("--config", tmp_path / "a.yaml", "--strict")


def test_options_are_saved(options, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    saved = options("--save-config=a.yaml", "--log-verbose=1", "--preload=ops.so", "--model-repository=m")
    assert yaml.safe_load((tmp_path / "a.yaml").read_text()) == {
        "log-verbose": 1,
        "model-repository": [str(tmp_path / "m")],
        "preload": [str(tmp_path / "ops.so")],
    }
    assert options("--config=a.yaml") == saved.absolute(tmp_path)


def complete(*words):
    """Ask for a completion of the last word, as bash does."""
    answer = subprocess.run(
        [sys.executable, "-c", "from triton_backend_sdk.cli import main; main()"],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "_TBSDK_COMPLETE": "bash_complete",
            "COMP_WORDS": " ".join(["tbsdk", *words]),
            "COMP_CWORD": str(len(words)),
        },
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    return answer.stdout.split()


@pytest.mark.parametrize(
    ("words", "offers"),
    [
        (["serve", "--log-fo"], ["plain,--log-format"]),
        (["serve", "--log-format", "I"], ["plain,ISO8601"]),
        (["serve", "--allow-http", "f"], ["plain,false"]),
        (["serve", "--model-control-mode", ""], ["plain,none", "plain,poll", "plain,explicit"]),
        (["serve", "--grpc-server-cert", "a"], ["file,a"]),
        (["serve", "--backend-directory", "a"], ["dir,a"]),
        (["serve", "--model-repository", "=", "a"], ["dir,a"]),  # bash takes --flag=value apart
        (["serve", "--log-format", "=", "I"], ["plain,ISO8601"]),
        (["serve", "--log-format", "="], ["plain,default", "plain,ISO8601"]),
        (["serve", "a"], ["dir,a"]),
        (["serve", "--", "--log-fo"], ["plain,--log-format"]),
        (["serve", "--", "--wat"], []),
        (["ser"], ["plain,serve", "plain,server"]),
    ],
)
def test_a_shell_completes(words, offers):
    assert complete(*words) == offers


BASH = """
cd {folder}
eval "$(_TBSDK_COMPLETE=bash_source {tbsdk})"
offer() {{
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
    compopt() {{ printf '%s %s' "$1" "$2"; }}
    _tbsdk_completion tbsdk; printf '%s ' "${{COMPREPLY[@]}}"; echo
}}
offer tbsdk serve --log-format = I
offer tbsdk serve --backend-directory a
offer tbsdk serve -- --log-fo
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here: apt-get install bash")
def test_bash_itself_completes(tmp_path):
    tbsdk = tmp_path / "bin" / "tbsdk"
    tbsdk.parent.mkdir()
    program = "import sys; sys.argv[0] = 'tbsdk'; from triton_backend_sdk.cli import main; sys.exit(main())"
    tbsdk.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{program}" "$@"\n')
    tbsdk.chmod(0o755)
    answer = subprocess.run(
        ["bash", "--norc", "-c", BASH.format(folder=tmp_path, tbsdk=tbsdk)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{tbsdk.parent}:{os.environ['PATH']}"},
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert answer.stdout.split("\n") == ["ISO8601 ", "-o dirnames ", "--log-format ", ""], answer.stderr


def test_help_comes_at_once_and_imports_nothing_heavy():
    program = (
        "import sys; from triton_backend_sdk import cli; cli.run(['serve', '--help'])\n"
        "heavy = ('rich', 'yaml', 'tritonclient', 'cffi', 'triton_backend_sdk.tools.build')\n"
        "print([name for name in sys.modules if name.startswith(heavy)])"
    )
    begin = time.monotonic()
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    taken = time.monotonic() - begin
    assert answer.stdout.splitlines()[-1] == "[]"
    assert taken < 30, taken  # seconds, not minutes, on any machine
