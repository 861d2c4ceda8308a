import json
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest

from tests.tools.test_migrate import CONFIG, PLAIN, write
from triton_backend_sdk.cli import run
from triton_backend_sdk.tools.client import infer
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.project import Project

STOCK = PLAIN.replace("responses = []", "responses = []; __import__('os'); os._exit(1)") + "import os\n"
DIFFERS = PLAIN + "import os\nos.chdir('/')\n"
BEHIND_A_HELPER = PLAIN.replace("class Tri", "import helper\n\nclass Tri").replace(
    '"OUT", x', '"OUT", helper.double(x)'
)
HELPER = "def double(x):\n    return 2 * x\n"


REPORT = """\
m  m/1/model.py  (execute)
  it uses                   line  in process
  InferenceResponse         9     the same
  Tensor                    9     copied once, into Triton's response
  Tensor.as_numpy           8     a view of Triton's memory; a private copy
                                  where the model writes into it
  get_input_tensor_by_name  8     the same
  verdict: runs as it is
  as a plugin: its source, with the SDK's names

To run it in process:
  tbsdk build --compat -o BACKENDS     # the backend, once
  sed -i 's/^\\( *backend: *\\)"python"/\\1"python_inprocess"/' m/config.pbtxt
Or write it as a backend of its own:
  tbsdk migrate m -o .
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_report(here, capsys):
    write(here / "m")

    assert run(["migrate", "m"]) == 0

    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == REPORT.splitlines()


def test_the_line_that_it_tells_to_type_changes_the_backend_alone(here, capsys):
    write(here / "m")
    run(["migrate", "m"])
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  sed ")]

    subprocess.run(line, shell=True, check=True)

    assert (here / "m" / "config.pbtxt").read_text() == CONFIG.replace('"python"', '"python_inprocess"')


@pytest.mark.parametrize(
    ("source", "status"), [(PLAIN, 0), (DIFFERS, 3), (STOCK, 4), (PLAIN + "pb_utils.x", 4)]
)
def test_the_status(here, source, status):
    write(here / "m", source)

    assert run(["migrate", "m"]) == status


def test_a_repository(here, capsys):
    write(here / "models" / "a", DIFFERS)
    write(here / "models" / "b", config=None)
    write(here / "models" / "c", STOCK)

    assert run(["migrate", "models"]) == 4

    printed = capsys.readouterr().out
    assert "a      runs, with differences        source" in printed
    assert "c      stays with the stock backend  source" in printed
    assert "models/a/config.pbtxt\n" in printed
    assert "echo 'backend: \"python_inprocess\"' >> models/b/config.pbtxt\n" in printed
    assert "models/c/config.pbtxt" not in printed
    assert "tbsdk build --compat --name python -o BACKENDS" in printed


def test_a_model_that_cannot_be_read_keeps_no_other_from_it(here, capsys):
    write(here / "repo" / "good")
    write(here / "repo" / "bad", "class TritonPythonModel\n")
    write(here / "repo" / "ugly", "class Model: ...\n")

    assert run(["migrate", "repo"]) == 4

    said = capsys.readouterr()
    assert "good  repo/good/1/model.py" in said.out
    assert "To run it in process:" in said.out
    assert "bad/1/model.py, line 1: expected ':'" in said.err
    assert "no class TritonPythonModel" in said.err

    assert run(["migrate", "repo", "--json"]) == 4
    found = {one["model"]: one for one in json.loads(capsys.readouterr().out)}
    assert found["good"]["verdict"] == "runs as it is"
    assert found["bad"]["verdict"] == "has an error, on the stock backend too"
    assert "line 1" in found["bad"]["error"]


def test_json(here, capsys):
    write(here / "m", DIFFERS)

    assert run(["migrate", "m", "--json"]) == 3

    [found] = json.loads(capsys.readouterr().out)
    assert (found["model"], found["verdict"], found["plugin"]) == ("m", "runs, with differences", "source")
    assert found["uses"][0] == {
        "name": "InferenceResponse",
        "places": [f"{here}/m/1/model.py:9"],
        "becomes": "the same",
    }
    assert found["findings"][0]["level"] == "differs"


def test_nothing_of_the_model_is_run(here):
    write(here / "m", PLAIN + "raise SystemExit('was run')\n", helper="raise SystemExit('was run')\n")

    run(["migrate", "m"])


def test_errors(here):
    write(here / "models" / "a")
    write(here / "models" / "b")

    with pytest.raises(HandledError, match="no nowhere"):
        run(["migrate", "nowhere"])
    with pytest.raises(click.UsageError, match="add -o DIR"):
        run(["migrate", "models/a", "--wrap"])
    with pytest.raises(click.UsageError, match="models holds a, b"):
        run(["migrate", "models", "-o", "."])
    with pytest.raises(HandledError, match="standard library"):
        run(["migrate", "models/a", "-o", ".", "--name", "json"])


# --- as a project --------------------------------------------------------------------------------------------


def test_the_project(here, capsys):
    source = write(here / "given" / "scaler", CONFIG and PLAIN, "# mine\n" + CONFIG)
    (source / "labels.txt").write_text("cat")
    (source / "1" / "weights.bin").write_bytes(b"\0\xff")
    (source / "1" / "__pycache__").mkdir()
    (source / "1" / "__pycache__" / "model.pyc").touch()

    assert run(["migrate", "given/scaler", "-o", "."]) == 0

    assert "  cd scaler\n  tbsdk serve" in capsys.readouterr().out
    files = sorted(str(path.relative_to("scaler")) for path in Path("scaler").rglob("*") if path.is_file())
    assert files == [
        ".dockerignore", ".gitignore", "Dockerfile", "README.md", "model_repository/scaler/1/weights.bin",
        "model_repository/scaler/config.pbtxt", "model_repository/scaler/labels.txt", "pyproject.toml",
        "scaler/__init__.py", "scaler/plugin.py", "tests/test_plugin.py",
    ]  # fmt: skip
    assert Project.find(here / "scaler").name == "scaler"
    written = Path("scaler/model_repository/scaler/config.pbtxt").read_text()
    assert written == "# mine\n" + CONFIG.replace('"python"', '"scaler"')
    assert "mybackend" not in "".join(Path("scaler", file).read_text("latin-1") for file in files)


@pytest.mark.parametrize("words", [[], ["--wrap"]])
def test_a_written_project_passes_its_own_tests(here, words):
    write(here / "given" / "scaler")
    run(["migrate", "given/scaler", "-o", ".", *words])

    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider"],
        cwd=here / "scaler",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert result.returncode == 0, result.stdout + result.stderr
    if "skipped" in result.stdout:
        pytest.skip(result.stdout)
    assert "1 passed" in result.stdout


def test_a_model_with_modules_of_its_own_in_the_real_server(here, tritonserver):
    write(here / "given" / "doubles", BEHIND_A_HELPER, helper=HELPER)
    run(["migrate", "given/doubles", "-o", ".", "--name", "wrapped"])
    assert Path("wrapped/model_repository/doubles/1/helper.py").read_text() == HELPER

    server = tritonserver(here / "wrapped")

    answer = infer(server.http_url, "http", "doubles", {"IN": np.float32([1, 2])})
    assert answer.outputs["OUT"].tolist() == [2, 4]


def test_what_exists_is_kept(here):
    write(here / "given" / "scaler")
    (here / "scaler").mkdir()
    (here / "scaler" / "mine").touch()

    with pytest.raises(HandledError, match="exists already") as caught:
        run(["migrate", "given/scaler", "-o", "."])

    assert "tbsdk migrate" in caught.value.next_step
    assert [path.name for path in (here / "scaler").iterdir()] == ["mine"]


def test_a_name_that_no_backend_can_have(here, capsys):
    write(here / "My-Model")

    run(["migrate", "My-Model", "-o", "."])

    assert Project.find(here / "my_model").name == "my_model"
    assert (here / "my_model" / "model_repository" / "My-Model" / "config.pbtxt").is_file()


def test_what_to_look_at_is_in_the_readme(here):
    writes = PLAIN.replace("responses.append", "x += 1; responses.append")
    write(here / "given" / "scaler", "import no_such_package\n" + writes)
    run(["migrate", "given/scaler", "-o", "."])

    readme = Path("scaler/README.md").read_text()
    assert "line 10: an input's array may be written to" in readme
    assert "pip install no_such_package" in readme
    assert "# Add what brings: no_such_package" in Path("scaler/pyproject.toml").read_text()
    assert "numpy().copy()" in Path("scaler/scaler/plugin.py").read_text()
