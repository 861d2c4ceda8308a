from pathlib import Path

import pytest

from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.project import Project

TEMPLATE = Path(__file__).parents[2] / "templates" / "mybackend"


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_find_reads_the_template():
    project = Project.find(TEMPLATE)

    assert project.name == "mybackend"
    assert project.root == TEMPLATE
    assert project.package == TEMPLATE / "mybackend"
    assert project.model_repository == TEMPLATE / "model_repository"
    assert project.requirements == ["numpy>=1.26"]


@pytest.mark.parametrize("inside", ["mybackend", "model_repository", "mybackend/plugin.py", "tests"])
def test_find_walks_up(inside):
    assert Project.find(TEMPLATE / inside).root == TEMPLATE


def test_find_from_the_working_folder(monkeypatch):
    monkeypatch.chdir(TEMPLATE / "tests")

    assert Project.find(Path()).root == TEMPLATE


def test_the_name_defaults_to_the_distribution(tmp_path):
    write(tmp_path, {"pyproject.toml": '[project]\nname = "my-scale.v2"', "my_scale_v2/plugin.py": ""})

    project = Project.find(tmp_path)

    assert project.name == "my_scale_v2"
    assert project.requirements == []


def test_a_pyproject_that_is_no_backend_is_walked_past(tmp_path):
    write(tmp_path, {"pyproject.toml": '[tool.tbsdk]\nbackend = "outer"', "outer/plugin.py": ""})
    write(tmp_path / "tools", {"pyproject.toml": '[project]\nname = "helper"'})

    assert Project.find(tmp_path / "tools").name == "outer"


def failure(path: Path) -> HandledError:
    with pytest.raises(HandledError) as caught:
        Project.find(path)
    return caught.value


def test_no_such_folder(tmp_path):
    error = failure(tmp_path / "gone")

    assert error.message == f"no folder {tmp_path}/gone: a backend project was expected there"
    assert error.next_step == "tbsdk new NAME"


def test_no_pyproject(tmp_path):
    error = failure(tmp_path)

    assert error.message == f"no backend project in {tmp_path} or above it: no pyproject.toml was found"
    assert error.next_step == "tbsdk new NAME"


def test_a_foreign_pyproject_is_named(tmp_path):
    write(tmp_path, {"pyproject.toml": '[project]\nname = "website"'})

    error = failure(tmp_path)

    assert f"{tmp_path}/pyproject.toml has no [tool.tbsdk] table" in error.message
    assert error.next_step == "tbsdk new NAME"


def test_a_missing_plugin_is_named(tmp_path):
    write(tmp_path, {"pyproject.toml": '[tool.tbsdk]\nbackend = "scale"'})

    error = failure(tmp_path)

    assert error.message.startswith(f"no {tmp_path}/scale/plugin.py")
    assert "scale/plugin.py" in str(error.next_step)


@pytest.mark.parametrize("name", ['"not-a-package"', '"../other"', '""', "3"])
def test_a_backend_that_is_no_package_name(tmp_path, name):
    write(tmp_path, {"pyproject.toml": f"[tool.tbsdk]\nbackend = {name}"})

    assert "expected a package name" in failure(tmp_path).message


@pytest.mark.parametrize("text", ["[tool.tbsdk", "\udcff"])
def test_an_unreadable_pyproject(tmp_path, text):
    (tmp_path / "pyproject.toml").write_text(text, errors="surrogateescape")

    assert failure(tmp_path).message.startswith(f"cannot read {tmp_path}/pyproject.toml")


@pytest.mark.parametrize("dependencies", ['"numpy"', "[1]", "{}"])
def test_dependencies_that_are_no_list_of_strings(tmp_path, dependencies):
    text = f'[project]\ndependencies = {dependencies}\n[tool.tbsdk]\nbackend = "scale"'
    write(tmp_path, {"pyproject.toml": text, "scale/plugin.py": ""})

    assert "is no list of strings" in failure(tmp_path).message


def test_tables_of_another_type_are_no_backend(tmp_path):
    write(tmp_path, {"pyproject.toml": "tool = 3\nproject = []"})

    assert "has no [tool.tbsdk] table" in failure(tmp_path).message
