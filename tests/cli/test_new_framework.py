import json
from pathlib import Path

import click
import pytest

from tests.conftest import GOLDEN
from triton_backend_sdk.cli import run
from triton_backend_sdk.tools.check.engine import check
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.model_entry import FRAMEWORKS
from triton_backend_sdk.tools.server_options.options import ServerOptions

#: Frameworks whose model's output has classes to be named.
LABELLED = [name for name in FRAMEWORKS if name not in ("dali", "ensemble")]


def errors(repository: Path) -> list[tuple[str, str]]:
    """Give what `tbsdk check` says against today's Triton, with a GPU."""
    options = ServerOptions(model_repository=[str(repository)])
    found = check(options, server=None, gpus=1)
    return [(each.rule, each.place.path) for each in found if each.severity == "error"]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_entries_are_golden(framework, tmp_path, golden, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert run(["new", "sample", "--framework", framework, "--into", "models"]) == 0

    tree = [capsys.readouterr().out]
    for file in sorted((tmp_path / "models").rglob("*")):
        if file.is_file():
            tree += [f"--- {file.relative_to(tmp_path)}", file.read_text()]
    golden(f"entries/{framework}.txt", "\n".join(tree))


def test_every_entry_has_its_golden_file():
    assert sorted(file.stem for file in (GOLDEN / "entries").iterdir()) == sorted(FRAMEWORKS)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_only_the_models_file_is_missing(framework, tmp_path):
    run(["new", "sample", "--framework", framework, "--into", str(tmp_path)])

    file = FRAMEWORKS[framework][1]
    missing = [] if file is None else [("C13", str(tmp_path / "sample" / "1" / file.rstrip("/")))]
    assert errors(tmp_path) == missing


@pytest.mark.parametrize("framework", [name for name, (_, file) in FRAMEWORKS.items() if file])
def test_with_its_file_it_is_sound(framework, tmp_path):
    run(["new", "sample", "--framework", framework, "--into", str(tmp_path)])
    file = FRAMEWORKS[framework][1]
    place = tmp_path / "sample" / "1" / file
    if file.endswith("/"):
        place.mkdir()
        (place / ("saved_model.pb" if "saved" in file else "model.onnx")).touch()
    else:
        place.touch()
    if framework == "openvino":
        place.with_suffix(".bin").touch()

    assert errors(tmp_path) == []


@pytest.mark.parametrize("framework", LABELLED)
def test_labels_and_warmup(framework, tmp_path):
    run(["new", "plain", "--framework", framework, "--into", str(tmp_path)])
    run(["new", "more", "--framework", framework, "--into", str(tmp_path), "--labels", "--warmup"])

    texts = [(tmp_path / name / "config.pbtxt").read_text() for name in ("plain", "more")]
    assert "    label_filename:" in texts[1]
    assert "\nmodel_warmup {\n" in texts[1]
    assert "\n# }" not in texts[1].partition("model_warmup")[2].partition("\n\n")[0]
    assert len(texts[0].splitlines()) == len(texts[1].splitlines())
    assert (tmp_path / "more" / "labels.txt").is_file()
    assert not (tmp_path / "plain" / "labels.txt").exists()
    assert {rule for rule, _ in errors(tmp_path)} <= {"C13"}


@pytest.mark.parametrize("option", ["--labels", "--warmup"])
def test_what_an_ensemble_cannot_have(option, tmp_path):
    with pytest.raises(HandledError, match=f"an entry for ensemble has no {option[2:]}"):
        run(["new", "sample", "--framework", "ensemble", "--into", str(tmp_path), option])

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("taken", ["sample", "sample_second"])
def test_nothing_is_overwritten(taken, tmp_path):
    (tmp_path / taken).mkdir()
    (tmp_path / taken / "mine").touch()

    with pytest.raises(HandledError, match="exists already"):
        run(["new", "sample", "--framework", "ensemble", "--into", str(tmp_path)])

    assert [path.name for path in tmp_path.rglob("*")] == [taken, "mine"]


def test_a_model_is_no_repository(tmp_path):
    run(["new", "sample", "--framework", "python", "--into", str(tmp_path)])

    with pytest.raises(HandledError, match="is a model, not a model repository") as caught:
        run(["new", "other", "--framework", "python", "--into", str(tmp_path / "sample")])

    assert caught.value.next_step == f"name the folder above: --into {tmp_path}"


@pytest.mark.parametrize("name", ["3", "a/b", "..", "", "a b"])
def test_names(name, tmp_path):
    with pytest.raises(HandledError, match="cannot name a model"):
        run(["new", name, "--framework", "python", "--into", str(tmp_path)])


@pytest.mark.parametrize("name", ["my-model.v2", "ResNet50", "_x", "json"])
def test_a_models_name_need_be_no_packages(name, tmp_path):
    run(["new", name, "--framework", "python", "--into", str(tmp_path)])

    assert (tmp_path / name / "1" / "model.py").is_file()


def test_the_backend_of_ones_own(tmp_path):
    run(["new", "sample", "--framework", "custom", "--into", str(tmp_path), "--backend", "tokens"])

    assert 'backend: "tokens"\n' in (tmp_path / "sample" / "config.pbtxt").read_text()


@pytest.mark.parametrize("backend", ["a b", "../up", 'x"', "", "a/b"])
def test_what_cannot_name_a_backend(backend, tmp_path):
    with pytest.raises(HandledError, match="cannot name a backend"):
        run(["new", "x", "--framework", "custom", "--into", str(tmp_path), "--backend", backend])

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["mybackend", "mybackend_2", "mymodel", "mymodel_first", "my.mymodel"])
def test_names_that_are_the_templates_own(name, tmp_path):
    run(["new", name, "--framework", "ensemble", "--into", str(tmp_path)])

    config = (tmp_path / name / "config.pbtxt").read_text()
    assert f'model_name: "{name}_first"' in config
    assert errors(tmp_path) == []


@pytest.mark.parametrize(
    "words",
    [["--labels"], ["--warmup"], ["--backend", "x"], ["--framework", "onnx", "--backend", "x"]],
)
def test_options_that_do_not_go_together(words, tmp_path):
    with pytest.raises(click.UsageError):
        run(["new", "sample", "--into", str(tmp_path), *words])


def test_json_of_check_names_the_missing_file(tmp_path, capsys):
    run(["new", "sample", "--framework", "onnx", "--into", str(tmp_path)])
    capsys.readouterr()

    assert run(["check", str(tmp_path), "--no-server", "--json"]) == 2

    assert [finding["rule"] for finding in json.loads(capsys.readouterr().out)] == ["C13"]
