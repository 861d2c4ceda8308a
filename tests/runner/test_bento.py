"""A model repository as a BentoML service: the files that `tbsdk bento export` writes, and what `serve` starts."""

from __future__ import annotations

import ast
import dataclasses
import os
import re
import shlex
import sys

import pytest
import yaml
from click.testing import CliRunner

from tests.runtime.conftest import write_model
from triton_backend_sdk import cli
from triton_backend_sdk._version import __version__
from triton_backend_sdk.runner import Runner
from triton_backend_sdk.tools.bento import export
from triton_backend_sdk.tools.check.bucket import BucketPath, Listing
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.installation import STUB, find_server


def run(*words):
    return CliRunner().invoke(cli.cli, ["bento", *map(str, words)], catch_exceptions=False)


@pytest.fixture
def models(tmp_path):
    """A repository with one model of each kind that matters to a service."""
    root = tmp_path / "shop" / "models"
    row = {"IN": ("FP32", [-1])}
    write_model(root, "plain", "b", row, {"OUT": ("FP32", [-1])}, batch=8)
    many = {"IN": ("INT32", [1]), "TEXT-0": ("BYTES", [1], "optional: true"), "class": ("BOOL", [1])}
    write_model(root, "my-model.v2", "b", many, {"OUT": ("BYTES", [1])})
    write_model(
        root, "many", "b", row, {"OUT": ("FP32", [-1])}, extra="model_transaction_policy { decoupled: true }"
    )
    (root / "completed" / "1").mkdir(parents=True)
    return root


def test_e5_13_export_is_golden(models, golden):
    found = export(models)
    ast.parse(found.service)
    golden("bento/service.py.txt", found.service)
    golden("bento/bentofile.yaml", found.bentofile)


def test_the_base_image_follows_the_release(models):
    for release, image, python in (
        ("24.10", "24.10", "3.10"),
        ("2.51", "24.10", "3.10"),
        ("2.69.0", "26.05", "3.12"),
    ):
        docker = yaml.safe_load(export(models, release=release).bentofile)["docker"]
        assert docker["base_image"].endswith(f"/tritonserver:{image}-py3")
        assert docker["python_version"] == python
    assert yaml.safe_load(export(models, image="mine:1").bentofile)["docker"]["base_image"] == "mine:1"
    with pytest.raises(HandledError, match=r"release 22\.12 is too old"):
        export(models, release="22.12")
    with pytest.raises(HandledError, match=r"'2\.99' is no release.*2\.72 \(26\.08\) or 2\.73 \(26\.09\)"):
        export(models, release="2.99")


def test_what_cannot_be_exported(tmp_path, models):
    with pytest.raises(HandledError, match="there is no model repository"):
        export(tmp_path / "nowhere")
    with pytest.raises(HandledError, match="'A b' cannot name a Bento"):
        export(models, name="A b")
    with pytest.raises(HandledError, match="plain looks like a model, not a repository"):
        export(models / "plain")
    for text, words in (
        ("input [", r"plain/config.pbtxt: .*line 1"),
        ("input { data_type: TYPE_FP32 }", "plain/config.pbtxt: an input has no name"),
    ):
        (models / "plain" / "config.pbtxt").write_text(text)
        with pytest.raises(HandledError, match=words):
            export(models)


@pytest.mark.parametrize(
    "name", ["dict", "bentoml", "metrics", "livez", "infer", "close", "class", "1st", "é"]
)
def test_a_model_may_have_any_name(tmp_path, name):
    write_model(tmp_path / "models", name, "b", {"IN": ("FP32", [1])}, {"OUT": ("FP32", [1])})
    service = ast.parse(export(tmp_path / "models").service).body[-1]
    functions = [node for node in service.body if isinstance(node, ast.AsyncFunctionDef)]
    assert functions[-1].name not in {
        "np",
        "dict",
        "bentoml",
        "metrics",
        "livez",
        *(f.name for f in functions[:-1]),
    }
    assert f'self.runner["{name}"]' in ast.unparse(functions[-1]).replace("'", '"')


def test_a_repository_without_models(tmp_path):
    (tmp_path / "models").mkdir()
    service = export(tmp_path / "models").service
    assert [line for line in service.splitlines() if "async def" in line][1:] == [
        "    async def models(self) -> list[dict[str, Any]]:",
        '    async def infer(self, model: str, inputs: dict[str, Any], version: str = "") -> dict[str, Any]:',
    ]
    assert "AsyncGenerator" not in service


def test_a_repository_in_a_bucket(models, tmp_path, monkeypatch):
    system = pytest.importorskip("fsspec").filesystem("memory")
    system.put(str(models), "/shop/models", recursive=True)
    try:
        listing = Listing(system, "shop/models", "s3://shop/models")
        monkeypatch.setattr("triton_backend_sdk.tools.bento.open_root", lambda root: BucketPath(listing))
        assert run("export", "s3://shop/models", "-o", tmp_path / "out").exit_code == 0
    finally:
        system.rm("/shop", recursive=True)
    service, bentofile = ((tmp_path / "out" / name).read_text() for name in ("service.py", "bentofile.yaml"))
    assert 'REPOSITORY = "s3://shop/models"' in service
    assert "async def plain(self, IN: list[Any])" in service
    assert "class Shop:" in service
    assert yaml.safe_load(bentofile)["include"] == ["service.py"]
    assert [path.name for path in (tmp_path / "out").iterdir() if path.is_dir()] == []


def test_export_writes_beside_the_repository_or_copies_it(models, tmp_path):
    assert run("export", models).exit_code == 0
    assert sorted(path.name for path in models.parent.iterdir()) == ["bentofile.yaml", "models", "service.py"]
    with pytest.raises(HandledError, match=r"service.py is there already"):
        run("export", models)
    assert run("export", models, "--force", "--name", "other").exit_code == 0
    assert 'service: "service:Other"' in (models.parent / "bentofile.yaml").read_text()
    assert run("export", models, "-o", tmp_path / "out").exit_code == 0
    assert (tmp_path / "out" / "models" / "plain" / "config.pbtxt").is_file()
    (tmp_path / "out" / "service.py").unlink()
    (tmp_path / "out" / "bentofile.yaml").unlink()
    with pytest.raises(HandledError, match=r"out/models is there already"):
        run("export", models, "-o", tmp_path / "out")
    for inside in (models, models / "plain"):
        with pytest.raises(HandledError, match="lies in the repository itself"):
            run("export", models, "-o", inside)


def test_a_checkout_goes_into_an_image_as_a_wheel(models, monkeypatch, tmp_path):
    """No index has it."""
    monkeypatch.setattr("triton_backend_sdk.cli.bento.sdk_checkout", lambda: tmp_path)
    wheels = models.parent / "wheels"
    assert f"python3 -m pip wheel --no-deps -w {wheels} {tmp_path}" in run("export", models).output
    wheels.mkdir()
    (wheels / f"triton_backend_sdk-{__version__}-py3-none-any.whl").write_text("")
    assert "pip wheel" not in run("export", models, "--force").output
    bentofile = yaml.safe_load((models.parent / "bentofile.yaml").read_text())
    assert bentofile["include"] == ["service.py", "models/", "wheels/"]
    assert bentofile["python"] == {
        "packages": [
            f"./wheels/triton_backend_sdk-{__version__}-py3-none-any.whl",
            "triton-backend-sdk[client]",
        ]
    }


def test_empty_version_folders_are_packed_too(models, tmp_path):
    """An ensemble has one, and Triton wants it; BentoML packs files only."""
    assert "wrote .gitkeep in 4 version folder(s)" in run("export", models, "-o", tmp_path / "out").output
    assert (tmp_path / "out" / "models" / "plain" / "1" / ".gitkeep").is_file()
    assert not (models / "plain" / "1" / ".gitkeep").exists()
    assert run("export", models).exit_code == 0
    assert (models / "plain" / "1" / ".gitkeep").is_file()
    assert ".gitkeep" not in run("export", models, "--force").output


ADD = """
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        given = [pb_utils.get_input_tensor_by_name(request, "IN").as_numpy() for request in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", array + 1)]) for array in given]
"""


@pytest.fixture
def of_python(tmp_path):
    """A repository with a model of Triton's Python backend, told by its config or by its file."""
    root = tmp_path / "of python" / "models"
    write_model(root, "add", "python", {"IN": ("FP32", [-1])}, {"OUT": ("FP32", [-1])})
    for name in ("add", "bare"):
        (root / name / "1").mkdir(parents=True, exist_ok=True)
        (root / name / "1" / "model.py").write_text(ADD)
    (root / "bare" / "config.pbtxt").write_text("")
    return root


def test_models_of_the_python_backend_are_told_how_to_run_without_its_stub(of_python):
    """What is told is typed, and the server that tbsdk fetches runs them."""
    output = run("export", of_python).output
    assert "lacks the stub of Triton's Python backend, which add, bare would need" in output
    assert "bentoml serve" not in output
    build, serve = (shlex.split(line) for line in re.findall(r"^  (tbsdk .*)$", output, re.MULTILINE))
    assert CliRunner().invoke(cli.cli, build[1:]).exit_code == 0
    assert serve[:-1] == ["tbsdk", "bento", "serve", str(of_python.parent), "--triton-option"]
    with Runner(of_python, load_model=["add"], triton_options=serve[-1:]) as runner:
        assert runner.add.run([1, 2])["OUT"].tolist() == [2, 3]


def test_a_server_with_the_stub_runs_models_of_the_python_backend(of_python, models, tmp_path, monkeypatch):
    fetched = find_server()

    def has(*names):
        folder = tmp_path / str(len(names)) / "python"
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).touch()
        server = dataclasses.replace(fetched, backends=folder.parent)
        monkeypatch.setattr("triton_backend_sdk.cli.bento.find_server", lambda: server)
        return "the stub" not in run("export", of_python, "--force").output

    library, stock = "libtriton_python.so", "triton_python_backend_utils.py"
    assert has(library, stock, STUB)
    assert has(library)  # ours in its place
    assert not has(library, stock)
    assert not has()
    assert "the stub" not in run("export", models).output  # which are of other backends
    for name in ("add", "bare"):
        (of_python / name / STUB).touch()
    assert "the stub" not in run("export", of_python, "--force").output


@pytest.fixture
def became(tmp_path, monkeypatch):
    """What `serve` would have become: the program and its arguments."""
    program = tmp_path / "bin" / "bentoml"
    program.parent.mkdir()
    program.write_text("")
    program.chmod(0o755)
    found = []
    monkeypatch.setattr(os, "execv", lambda program, argv: found.append(argv))
    monkeypatch.setattr(sys, "executable", str(program.with_name("python")))
    monkeypatch.setenv("TBSDK_RUNNER_OPTIONS", "log-info=1")
    return found


def test_serve_takes_bentomls_old_options(became, tmp_path):
    """bentoml is that of the same Python."""
    options = ["--triton-option", "model-control-mode=explicit", "--triton-options", "load_model:rows"]
    assert run("serve", tmp_path, *options, "--port", "1").exit_code == 0
    assert became == [[str(tmp_path / "bin" / "bentoml"), "serve", str(tmp_path), "--port", "1"]]
    assert os.environ["TBSDK_RUNNER_OPTIONS"] == "log-info=1 model-control-mode=explicit load_model:rows"


def test_serve_without_bentoml(became, tmp_path, monkeypatch):
    (tmp_path / "bin" / "bentoml").unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HandledError, match="bentoml is not on PATH") as caught:
        run("serve", tmp_path)
    assert caught.value.next_step == "pip install 'bentoml>=1.4'"


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("nosuch=1", "no option --nosuch"),
        ("log-verbosity=1", "did you mean --log-verbose"),
        ("model-repository=x", "'model-repository' is not for here: give the repository as Runner's first"),
        ("grpc-port", "triton option 'grpc-port': expected NAME=VALUE"),
        ("grpc-port=x", "grpc-port"),
    ],
)
def test_an_old_option_that_cannot_be_is_told(became, tmp_path, option, words):
    with pytest.raises(HandledError, match=words) as caught:
        run("serve", tmp_path, "--triton-option", option)
    assert caught.value.next_step == "tritonserver's options are in `tbsdk serve --help`"
    assert became == []
