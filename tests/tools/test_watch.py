import os
import time

import pytest

from triton_backend_sdk.tools import reload as reload_module
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.reload import Reloader
from triton_backend_sdk.tools.repository_index import ModelStatus
from triton_backend_sdk.tools.server_options.options import ServerOptions
from triton_backend_sdk.tools.sources import Sources
from triton_backend_sdk.tools.watch import FileWatch

from ..conftest import ECHO_MODELS, write_echo_project


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "watched" / "deep").mkdir(parents=True)
    (tmp_path / "watched" / "deep" / "a.py").write_text("a")
    return tmp_path / "watched"


def changes(watch):
    """Give the next changes, after the pause between two looks."""
    watch._next = 0
    return {path.name for path in watch.changes()}


def test_new_changed_and_removed_files_are_noticed_once(folder):
    watch = FileWatch([folder])
    assert changes(watch) == set()
    (folder / "deep" / "a.py").write_text("b")
    (folder / "deep" / "b.py").touch()
    assert changes(watch) == {"a.py", "b.py"}
    assert changes(watch) == set()
    (folder / "deep" / "a.py").unlink()
    assert changes(watch) == {"a.py"}


def test_folders_count_as_there_or_not(folder):
    watch = FileWatch([folder])
    (folder / "new").mkdir()
    assert changes(watch) == {"new"}
    (folder / "new").rmdir()
    os.utime(folder / "deep")
    assert changes(watch) == {"new"}


def test_what_editors_and_python_write_beside_does_not_count(folder):
    watch = FileWatch([folder])
    for name in ("deep/.a.py.swp", "deep/a.py~", "__pycache__/a.pyc", ".git/index"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    assert changes(watch) == set()


def test_links_are_followed_and_circles_end(folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    (folder / "deep" / "circle").symlink_to(folder)
    watch = FileWatch([folder])
    (tmp_path / "elsewhere" / "c.txt").touch()
    assert changes(watch) == {"c.txt"}


def test_single_files_and_places_that_do_not_exist_yet(folder):
    watch = FileWatch([folder / "deep" / "a.py", folder / "later"])
    (folder / "later").mkdir()
    (folder / "later" / "x").touch()
    assert changes(watch) == {"later", "x"}


def test_between_looks_it_costs_nothing(folder, monkeypatch):
    watch = FileWatch([folder])
    watch.changes()
    (folder / "deep" / "a.py").write_text("changed")
    assert watch.changes() == set()  # too early
    deadline = time.monotonic() + 5
    while not watch.changes():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Server:
    """What the reloader asks of a server."""

    def __init__(self, states, load_model=("*",)):
        self.states = states
        self.options = ServerOptions(load_model=list(load_model), allow_grpc=False)
        self.calls = []
        self.endpoint = self

    def models(self):
        return [ModelStatus(name, "1", state, "") for name, state in self.states.items()]

    def load(self, name):
        self.calls.append(f"load {name}")

    def unload(self, name):
        self.calls.append(f"unload {name}")


@pytest.fixture
def project(tmp_path):
    written = write_echo_project(tmp_path / "p", dict.fromkeys(("one", "two"), ECHO_MODELS["rows"]))
    other = written.model_repository / "other"
    (other / "1").mkdir(parents=True)
    (other / "config.pbtxt").write_text('backend: "another"')
    return written


def reloader(project, server, build=lambda: None):
    return Reloader(server, Sources([project], [project.model_repository], compat=False), build)


def test_code_concerns_the_models_of_its_backend_and_a_models_files_it_alone(project):
    server = Server(dict.fromkeys(("one", "two", "other"), "READY"))
    subject = reloader(project, server)
    list(subject.take_up({(project.package / "plugin.py").resolve()}))
    assert server.calls == ["load one", "load two"]
    server.calls.clear()
    list(subject.take_up({(project.model_repository / "other" / "config.pbtxt").resolve()}))
    assert server.calls == ["load other"]


def test_models_that_were_not_asked_for_stay_unloaded(project):
    server = Server({"one": "READY", "two": "", "other": ""}, load_model=["one"])
    list(reloader(project, server).take_up({(project.package / "plugin.py").resolve()}))
    assert server.calls == ["load one"]


def test_a_build_that_fails_loads_nothing(project):
    def build():
        raise HandledError("no compiler")

    server = Server({"one": "READY"})
    [result] = reloader(project, server, build).take_up({(project.package / "plugin.py").resolve()})
    assert (result.name, result.action, result.error) == ("echo", "build", "no compiler")
    assert server.calls == []


def test_a_folder_that_cannot_be_touched_is_told(project, monkeypatch):
    def utime(path):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(reload_module.os, "utime", utime)
    server = Server({"one": "READY", "two": "READY"})
    results = list(reloader(project, server).take_up({(project.package / "plugin.py").resolve()}))
    assert [result.name for result in results] == ["one", "two"]
    assert all("Read-only file system" in result.error for result in results)
    assert server.calls == []
