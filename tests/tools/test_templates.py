import keyword
from pathlib import Path

import pytest

from triton_backend_sdk.tools import templates
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.project import Project
from triton_backend_sdk.tools.templates import check_name, new_project, propose

CHECKOUT = Path(__file__).parents[2] / "templates" / "mybackend"
GOLDEN = Path(__file__).parents[1] / "golden" / "scaffold" / "scale"


def tree(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


def test_the_tree_is_golden(tmp_path, golden):
    written = tree(new_project("scale", tmp_path).root)
    for name, text in written.items():
        golden(f"scaffold/scale/{name}", text)

    assert written.keys() == tree(GOLDEN).keys()


def test_the_files_written_are_returned(tmp_path):
    project = new_project("scale", tmp_path)

    assert project.root == tmp_path / "scale"
    assert [str(file) for file in project.files] == [
        str(file) for file in sorted(map(Path, tree(project.root)))
    ]
    assert Path("model_repository/scale/1/.gitkeep") in project.files


def test_the_stock_name_survives_nowhere(tmp_path):
    root = new_project("scale", tmp_path).root

    for name, text in tree(root).items():
        assert "mybackend" not in name.lower()
        assert "mybackend" not in text.lower()


def test_the_stock_name_itself_is_a_good_name(tmp_path):
    assert tree(new_project("mybackend", tmp_path).root).keys() >= {"mybackend/plugin.py", "Dockerfile"}


def test_the_new_project_is_a_project(tmp_path):
    project = Project.find(new_project("scale", tmp_path).root)

    assert project.name == "scale"
    assert project.model_repository.is_dir()


def test_missing_folders_are_made(tmp_path):
    assert new_project("scale", tmp_path / "a" / "b").root.is_dir()


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "scale").mkdir()

    assert (new_project("scale", tmp_path).root / "pyproject.toml").is_file()


@pytest.mark.parametrize("make", [lambda path: path.mkdir() or (path / "x").touch(), Path.touch])
def test_nothing_is_overwritten(tmp_path, make):
    make(tmp_path / "scale")
    before = sorted(tmp_path.rglob("*"))

    with pytest.raises(HandledError, match="exists already") as caught:
        new_project("scale", tmp_path)

    assert str(tmp_path / "scale") in caught.value.message
    assert "--into DIR" in str(caught.value.next_step)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(HandledError, match="cannot write"):
        new_project("scale", tmp_path / "file")


def test_leftovers_of_a_tried_template_are_not_copied(tmp_path, monkeypatch):
    source = new_project("mybackend", tmp_path / "template").root
    for leftover in ("build/backends/x", "mybackend/__pycache__/x.pyc", ".pytest_cache/x", ".venv/x"):
        (source / leftover).parent.mkdir(parents=True)
        (source / leftover).write_bytes(b"\xff")
    monkeypatch.setattr(templates, "template", lambda: source)

    project = new_project("scale", tmp_path)

    assert tree(project.root) == tree(GOLDEN)


def test_the_template_of_a_checkout():
    assert templates.template() == CHECKOUT


def test_an_installation_without_its_templates(monkeypatch, tmp_path):
    package = tmp_path / "triton_backend_sdk"
    monkeypatch.setattr(templates, "__file__", str(package / "tools" / "templates.py"))

    with pytest.raises(HandledError) as caught:
        templates.template()

    assert str(package / "_templates" / "mybackend") in caught.value.message


@pytest.mark.parametrize("name", ["scale", "a", "x2", "my_tokenizer", "mybackend"])
def test_good_names(name):
    check_name(name)


@pytest.mark.parametrize(
    ("name", "reason", "proposal"),
    [
        ("My-Backend", "small letters", "my_backend"),
        ("2fast", "small letters", "my_2fast"),
        ("../x", "small letters", "x"),
        ("scale\n", "small letters", "scale"),
        ("", "small letters", "mybackend"),
        ("größe", "small letters", "gr_e"),
        ("_x", "small letters", "x"),
        ("class", "keyword", "my_class"),
        ("json", "standard library", "my_json"),
        ("test", "would shadow", "my_test"),
        ("python", "Triton has a backend", "my_python"),
        ("onnxruntime", "Triton has a backend", "my_onnxruntime"),
        ("identity", "Triton has a backend", "my_identity"),
        ("tests", "folder of that name", "my_tests"),
        ("numpy", "installed package", "my_numpy"),
        ("triton_backend_sdk", "installed package", "my_triton_backend_sdk"),
    ],
)
def test_bad_names_say_why_and_propose(name, reason, proposal):
    with pytest.raises(HandledError, match=reason) as caught:
        check_name(name)

    assert repr(name) in caught.value.message
    assert caught.value.next_step == f"tbsdk new {proposal}"


@pytest.mark.parametrize(
    "name", [*keyword.kwlist, *templates._STOCK_BACKENDS.split(), "a" * 5, "?", "9", "my_?"]
)
def test_every_proposal_is_a_good_name(name):
    check_name(propose(name))
