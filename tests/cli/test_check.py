import json
import time

import pytest
from click.testing import CliRunner

from triton_backend_sdk import cli

IO = (
    'input { name: "IN" data_type: TYPE_FP32 dims: 4 }\noutput { name: "OUT" data_type: TYPE_FP32 dims: 4 }\n'
)


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(*words, models=None):
        for path, text in (models or {}).items():
            (tmp_path / "models" / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "models" / path).write_text(text)
        return CliRunner().invoke(cli.cli, ["check", *words], standalone_mode=False, prog_name="tbsdk")

    return call


SOUND = {"m/config.pbtxt": 'backend: "b"\n' + IO, "m/1/a": ""}
ODD = {"m/config.pbtxt": 'backend: "b"\n' + IO, "m/1/a": "", "m/02/a": ""}
BROKEN = {"m/config.pbtxt": 'backend: "b"\nname: "n"\nmax_batch_size: -1\n' + IO, "m/1/a": "", "m/02/a": ""}


@pytest.mark.parametrize(("models", "status"), [(SOUND, 0), (ODD, 1), (BROKEN, 2)])
def test_exit_status(run, models, status):
    assert run("models", "--no-server", models=models).return_value == status


def test_what_a_person_reads(run):
    result = run("models", "--no-server", models=BROKEN)

    assert result.output.splitlines() == [
        "models/m/02",
        "         warning C08  '02' is not taken for a version: it has leading zeros",
        "              Triton: \"ignore version directory '02' which contains leading zeros in its directory name\"",
        "              mend:   rename 02 to 2  (--fix does it)",
        "models/m/config.pbtxt",
        "  2:1    error   C05  the config is of 'n', but the folder is 'm'",
        "              Triton: \"unexpected directory name 'm' for model 'n', directory name must equal model name\"",
        '              mend:   write name: "m", or leave name out  (--fix does it)',
        "  3:1    error   C14  max_batch_size is -1; it can be 0, for no batches, or more",
        "              Triton: \"'max_batch_size' must be non-negative value for m\"",
        "              mend:   max_batch_size: 0, or the most that a batch may have",
        "models: 2 errors, 1 warning; held against today's Triton, with any backend",
    ]


def test_nothing_to_mend(run):
    result = run("models", "--no-server", models=SOUND)

    assert result.output == "models: nothing to mend; held against today's Triton, with any backend\n"


def test_json(run):
    result = run("models", "--no-server", "--json", models=BROKEN)

    findings = json.loads(result.stdout)
    assert [each["rule"] for each in findings] == ["C08", "C05", "C14"]
    assert findings[2] == {
        "rule": "C14",
        "severity": "error",
        "model": "m",
        "file": "models/m/config.pbtxt",
        "line": 3,
        "column": 1,
        "message": "max_batch_size is -1; it can be 0, for no batches, or more",
        "server_says": "'max_batch_size' must be non-negative value for m",
        "mend": "max_batch_size: 0, or the most that a batch may have",
        "fix": None,
    }


def test_sarif(run, tmp_path):
    run("models", "--no-server", "--sarif", "out.sarif", models=BROKEN)

    log = json.loads((tmp_path / "out.sarif").read_text())
    [sarif_run] = log["runs"]
    rules = sarif_run["tool"]["driver"]["rules"]
    result = sarif_run["results"][2]
    assert log["version"] == "2.1.0"
    assert [rule["id"] for rule in rules] == [f"C{number:02}" for number in range(1, 41)]
    assert rules[result["ruleIndex"]]["id"] == result["ruleId"] == "C14"
    assert result["level"] == "error"
    assert result["message"]["text"].splitlines()[1].startswith('Triton would say: "')
    assert result["locations"] == [
        {
            "physicalLocation": {
                "artifactLocation": {"uri": "models/m/config.pbtxt", "uriBaseId": "%SRCROOT%"},
                "region": {"startLine": 3, "startColumn": 1},
            }
        }
    ]


def test_sarif_on_stdout_is_alone_there(run):
    assert json.loads(run("models", "--no-server", "--sarif", "-", models=ODD).stdout)["version"] == "2.1.0"


def test_sarif_of_a_folder_elsewhere(run, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    result = run(str(tmp_path.parent / "gone"), "--no-server", "--sarif", "-")

    [finding] = json.loads(result.stdout)["runs"][0]["results"]
    place = finding["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"].startswith("file:///")
    assert place["region"] == {"startLine": 1}


def test_fix_mends_what_is_safe(run, tmp_path):
    result = run("models", "--no-server", "--fix", models=BROKEN)

    assert result.return_value == 2  # C14 is for a person
    assert sorted(each.name for each in (tmp_path / "models" / "m").iterdir()) == ["1", "2", "config.pbtxt"]
    assert (tmp_path / "models/m/config.pbtxt").read_text() == (
        'backend: "b"\nname: "m"\nmax_batch_size: -1\n' + IO
    )
    assert "C14" in result.output
    assert "C05" not in result.output


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('name: "n"', 'name: "m"'),
        ("  name :'n' # the name\n", '  name: "m" # the name\n'),
        ('backend: "b" name: "n" max_batch_size: 1', 'backend: "b" name: "m" max_batch_size: 1'),
        ('# name: "n"\r\nname: "n"\r\n', '# name: "n"\r\nname: "m"\r\n'),
        ('name: "n" "n"', None),
        ('name:\n"n"', 'name: "m"'),
        ('name: "n\\n"', None),
        ('name: "ü"', 'name: "m"'),
    ],
)
def test_fix_of_a_name(run, tmp_path, before, after):
    file = tmp_path / "models" / "m" / "config.pbtxt"
    (file.parent / "1").mkdir(parents=True)
    text = before if "backend" in before else before + '\nbackend: "b"'
    file.write_bytes(text.encode())

    run("models", "--no-server", "--fix")

    expected = text if after is None else text.replace(before, after)
    assert file.read_bytes().decode() == expected


def test_fix_leaves_a_version_that_is_there(run, tmp_path):
    result = run("models", "--no-server", "--fix", models={**ODD, "m/2/a": "two", "m/02/a": "zero"})

    assert (tmp_path / "models/m/2/a").read_text() == "two"
    assert (tmp_path / "models/m/02/a").read_text() == "zero"
    assert result.return_value == 1


def test_fix_of_two_folders_for_one_version(run, tmp_path):
    result = run("models", "--no-server", "--fix", models={**SOUND, "m/02/a": "a", "m/002/a": "b"})

    assert result.exception is None
    assert sorted(each.name for each in (tmp_path / "models" / "m").iterdir() if each.is_dir()) == [
        "002",
        "02",
        "1",
    ]


@pytest.mark.parametrize(
    ("folder", "after"),
    [
        ('q"x', 'name: "q\\"x"'),
        ("b\\y", 'name: "b\\\\y"'),
        ("ü b", 'name: "ü b"'),
        ("n\nl", 'name: "x"'),
        ("\udce9", 'name: "x"'),
    ],
    ids=["quote", "backslash", "umlaut", "newline", "bytes"],
)
def test_fix_of_an_odd_name(run, tmp_path, folder, after):
    file = tmp_path / "models" / folder / "config.pbtxt"
    (file.parent / "1").mkdir(parents=True)
    file.write_text('name: "x"\nbackend: "b"\n')

    result = run("models", "--no-server", "--fix")

    assert file.read_text() == f'{after}\nbackend: "b"\n'
    assert result.return_value == (2 if after == 'name: "x"' else 0)


def test_fix_leaves_a_config_that_is_linked(run, tmp_path):
    shared = tmp_path / "shared.pbtxt"
    shared.write_text('name: "n"\nbackend: "b"\n')
    (tmp_path / "models" / "m" / "1").mkdir(parents=True)
    (tmp_path / "models" / "m" / "config.pbtxt").symlink_to(shared)

    run("models", "--no-server", "--fix")

    assert shared.read_text() == 'name: "n"\nbackend: "b"\n'


def test_sarif_writes_addresses_as_such(run, tmp_path):
    result = run("models", "--no-server", "--sarif", "-", models={"a b/config.pbtxt": "broken {"})

    [found] = [each for each in json.loads(result.output)["runs"][0]["results"] if each["ruleId"] == "C04"]
    assert found["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "models/a%20b/config.pbtxt"


def test_flags_of_tritonserver(run):
    models = {"m/1/model.onnx": "", "m/configs/x.pbtxt": "broken {"}

    assert run("models", "--no-server", models=models).return_value == 0
    for words in (["models", "--strict"], ["models", "--", "--disable-auto-complete-config"]):
        assert "C03" in run(*words[:1], "--no-server", *words[1:]).output
    assert (
        "C04"
        in run(
            "--no-server", "--", "bin/tritonserver", "--model-repository=models", "--model-config-name=x"
        ).output
    )
    assert "C04" in run("models", "--no-server", "--model-config-name", "x").output


def test_an_old_flag_is_translated_with_a_warning(run):
    result = run("models", "--no-server", "--", "--strict-model-config=true", models={"m/1/model.onnx": ""})

    assert "warning: --strict-model-config is deprecated" in result.stderr
    assert "C03" in result.stdout


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "no project is here: name one, or a model repository"),
        (["models", "--", "--no-such-flag=1"], "tritonserver has no option --no-such-flag"),
        (["models", "--", "--http-port=x"], "x"),
    ],
)
def test_a_command_line_that_makes_no_sense(run, words, text):
    result = run("--no-server", *words)

    assert result.exception is not None
    assert text in str(result.exception)


def test_no_repository_is_an_error(run):
    result = run("gone", "--no-server")

    assert result.return_value == 2
    assert 'Triton: "failed to stat file gone"' in result.output


def test_a_server_that_is_not_there(run):
    result = run("models", "--server", "gone", models=SOUND)

    assert result.return_value == 2
    assert "no tritonserver found" in result.output


def test_rules(run):
    lines = run("--rules").output.splitlines()

    assert len(lines) == 40
    assert lines[4].split() == ["C05", "error", "a", "name", "that", "is", "not", "the", "folder's"]
    assert len(json.loads(run("--rules", "--json").output)) == 40


def test_gpus_of_the_server(run):
    models = {"m/config.pbtxt": 'backend: "b"\ninstance_group { kind: KIND_GPU }\n' + IO, "m/1/a": ""}

    assert run("models", "--no-server", "--gpus", "0", models=models).return_value == 2
    assert run("models", "--no-server", "--gpus", "1").return_value == 0


def test_a_thousand_models_take_less_than_three_seconds(run):
    config = (
        'backend: "b"\nmax_batch_size: 8\n' + IO + "dynamic_batching { preferred_batch_size: [ 4, 8 ] }\n"
    )
    models = {}
    for number in range(1000):
        models |= {
            f"m{number}/config.pbtxt": config,
            f"m{number}/1/model.py": "class TritonPythonModel: ...\n",
        }
    run("--no-server", "models", models=models)

    started = time.process_time()
    result = run("--no-server", "models")

    assert result.return_value == 0
    assert time.process_time() - started < 3


def test_an_empty_name_is_not_the_folder_one_is_in(run):
    assert "a model repository has no name" in run("", "--no-server").exception.message


def test_a_project_stands_for_its_repository(run, tmp_path, monkeypatch):
    """It is what `tbsdk serve` takes, and builds; so its backend counts as being there."""
    assert CliRunner().invoke(cli.cli, ["new", "mine"], standalone_mode=False).return_value in (0, None)
    (tmp_path / "server" / "backends").mkdir(parents=True)
    (tmp_path / "server" / "bin").mkdir()
    binary = tmp_path / "server" / "bin" / "tritonserver"
    binary.write_text("#!/bin/sh\n")
    binary.chmod(0o755)
    against = ["--server", str(binary)]
    assert "mine/model_repository: nothing to mend" in run("mine", *against).output
    monkeypatch.chdir(tmp_path / "mine")
    assert "model_repository: nothing to mend" in run(*against).output
    assert "model_repository: nothing to mend" in run("model_repository", *against).output
    monkeypatch.chdir("mine")  # the package, below the project's folder
    assert "../model_repository: nothing to mend" in run(*against).output
    assert "C12" in run("../model_repository", *against, "--backend-directory", str(tmp_path)).output
    (tmp_path / "mine" / "model_repository" / "mine" / "config.pbtxt").write_text("bogus: 1\n")
    assert "bogus" in run(*against).output
