from pathlib import Path

import pytest

from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.installation import find_server
from triton_backend_sdk.tools.project import Project
from triton_backend_sdk.tools.server import TritonServer
from triton_backend_sdk.tools.sources import find_sources

from ..conftest import ECHO_MODELS, write_echo_project


def project(root, name):
    """Write a project under another name than echo."""
    written = write_echo_project(root, {name: ECHO_MODELS["rows"]})
    written.package.rename(root / name)
    for file in (root / "pyproject.toml", root / "model_repository" / name / "config.pbtxt"):
        file.write_text(file.read_text().replace('"echo"', f'"{name}"'))
    return Project.find(root)


@pytest.fixture
def models(tmp_path):
    (tmp_path / "models" / "plain" / "1").mkdir(parents=True)
    (tmp_path / "models" / "plain" / "config.pbtxt").write_text('backend: "one"\n' + ECHO_MODELS["rows"])
    return tmp_path / "models"


def test_projects_and_repositories_together_are_served_by_one_server(tmp_path, models):
    project(tmp_path / "a", "one")
    project(tmp_path / "b", "two")
    sources = find_sources([str(tmp_path / "a"), str(tmp_path / "b"), str(models)], [], compat=False)
    assert sources.built == ["one", "two"]
    assert sources.home() is None
    installation = find_server()
    backends = sources.build(tmp_path / "out", installation.backends, lambda step: None)
    assert {path.name for path in backends.iterdir()} >= {"one", "two", "python"}
    with TritonServer(sources.repositories, backend_directory=backends) as server:
        assert {status.name: status.state for status in server.models()} == {
            "one": "READY",
            "two": "READY",
            "plain": "READY",
        }


def test_a_repository_alone_is_served_with_the_servers_own_backends(models):
    sources = find_sources([str(models)], [], compat=False)
    assert (sources.projects, sources.repositories, sources.built) == ([], [models], [])
    assert sources.build(models / "out", models / "others", print) == models / "others"
    assert not (models / "out").exists()


def test_a_repository_inside_a_project_is_served_in_place_of_its_own(tmp_path):
    one = project(tmp_path / "a", "one")
    other = one.root / "more" / "m" / "1"
    other.mkdir(parents=True)
    sources = find_sources([str(one.root / "more")], [], compat=False)
    assert (sources.projects, sources.repositories) == ([one], [one.root / "more"])
    assert sources.home() == one.root / "build" / "serve"


@pytest.mark.parametrize("compat", [False, True])
def test_a_cloud_is_a_repository_and_no_folder(compat):
    sources = find_sources(["s3://bucket/models"], [], compat=compat)
    assert (sources.projects, sources.repositories, sources.folders) == ([], ["s3://bucket/models"], [])


def test_repositories_that_are_named_are_added_to_the_project_here(tmp_path, monkeypatch):
    one = project(tmp_path / "a", "one")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(one.root)
    sources = find_sources([], ["~/elsewhere", tmp_path / "elsewhere", "model_repository"], compat=False)
    assert sources.repositories == [Path("model_repository"), tmp_path / "elsewhere"]
    (tmp_path / "nothing").mkdir()
    monkeypatch.chdir(tmp_path / "nothing")
    assert find_sources([], ["../elsewhere"], compat=False).repositories == [Path("../elsewhere")]
    with pytest.raises(HandledError, match="no backend project"):
        find_sources([], [], compat=False)


@pytest.mark.parametrize("given", ["path", "flag"])
def test_a_model_in_place_of_its_repository_is_told(models, given):
    paths, repositories = ([str(models / "plain")], []) if given == "path" else ([], [models / "plain"])
    with pytest.raises(HandledError, match="plain looks like a model") as caught:
        find_sources(paths, repositories, compat=False)
    assert caught.value.next_step == f"name the folder that holds it: {models}"


@pytest.mark.parametrize("given", ["path", "flag"])
def test_what_is_not_there_is_told(tmp_path, given):
    lost = str(tmp_path / "lost")
    with pytest.raises(HandledError, match=f"there is no {lost}: a backend project or a model repository"):
        find_sources(*(([lost], []) if given == "path" else ([], [lost])), compat=False)


def test_two_projects_of_one_name_are_refused(tmp_path):
    project(tmp_path / "a", "one")
    project(tmp_path / "b", "one")
    with pytest.raises(HandledError, match="two of the projects build a backend named 'one'"):
        find_sources([str(tmp_path / "a"), str(tmp_path / "b")], [], compat=False)


def test_links_to_the_backends_of_another_server_are_made_anew(tmp_path):
    one = project(tmp_path / "a", "one")
    sources = find_sources([str(one.root)], [], compat=False)
    for version in ("old", "new"):
        (tmp_path / version / "other").mkdir(parents=True)
        sources.build(tmp_path / "out", tmp_path / version, lambda step: None)
    assert (tmp_path / "out" / "other").resolve() == tmp_path / "new" / "other"
    assert not (tmp_path / "out" / "one").is_symlink()
