import os
import threading
import time

import pytest

from triton_backend_sdk.tools import reload as reload_module
from triton_backend_sdk.tools import watch as watch_module
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


def test_links_that_lead_back_and_forth_end(folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (folder / "deep" / "there").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(folder)
    watch = FileWatch([folder])
    (tmp_path / "elsewhere" / "c.txt").touch()
    assert changes(watch) == {"c.txt"}


def test_what_never_comes_to_rest_is_taken_as_it_is(folder, monkeypatch):
    watch = FileWatch([folder])
    busy = folder / "busy"
    busy.touch()
    monkeypatch.setattr(watch_module.time, "sleep", lambda seconds: busy.write_text(busy.read_text() + "x"))
    assert changes(watch) == {"busy"}


def test_what_changes_at_each_load_is_watched_no_more(folder):
    watch = FileWatch([folder])
    for times in range(3):
        (folder / "deep" / "a.py").write_text("x" * times)
        assert "a.py" in changes(watch)
        (folder / "cache.bin").write_text("y" * times)  # what a load does
        assert watch.loaded() == ([folder / "cache.bin"] if times == 2 else [])
    (folder / "cache.bin").write_text("more")
    assert changes(watch) == set()
    (folder / "deep" / "a.py").write_text("edited")
    assert changes(watch) == {"a.py"}


def test_an_edit_during_a_load_is_seen_after_it(folder):
    watch = FileWatch([folder])
    for text in ("b", "bb", "bbb", "bbbb"):
        (folder / "deep" / "a.py").write_text(text)
        assert watch.loaded() == []
        assert changes(watch) == {"a.py"}
        assert watch.loaded() == []


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

    returncode = None

    def __init__(self, states, load_model=("*",)):
        self.states = states
        self.options = ServerOptions(load_model=list(load_model), allow_grpc=False)
        self.calls = []
        self.lines = []
        self.endpoint = self

    def models(self):
        return [ModelStatus(name, "1", state, "") for name, state in self.states.items()]

    def log_lines(self):
        return list(self.lines)

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


def taken_up(subject, changed):
    return list(subject.take_up(changed, lambda: None))


def test_code_concerns_the_models_of_its_backend_and_a_models_files_it_alone(project):
    server = Server(dict.fromkeys(("one", "two", "other"), "READY"))
    subject = reloader(project, server)
    taken_up(subject, {(project.package / "plugin.py").resolve()})
    assert sorted(server.calls) == ["load one", "load two"]
    server.calls.clear()
    taken_up(subject, {(project.model_repository / "other" / "config.pbtxt").resolve()})
    assert server.calls == ["load other"]


def test_models_that_were_not_asked_for_stay_unloaded(project):
    server = Server({"one": "READY", "two": "", "other": ""}, load_model=["one"])
    taken_up(reloader(project, server), {(project.package / "plugin.py").resolve()})
    assert server.calls == ["load one"]


def test_a_build_that_fails_loads_nothing(project):
    def build():
        raise HandledError("no compiler")

    server = Server({"one": "READY"})
    [result] = taken_up(reloader(project, server, build), {(project.package / "plugin.py").resolve()})
    assert (result.name, result.action, result.error) == ("echo", "build", "no compiler")
    assert server.calls == []


def test_what_a_build_that_fails_does_not_concern_is_loaded(project):
    def build():
        raise HandledError("no compiler")

    server = Server({"one": "READY", "other": "READY"})
    changed = {
        (project.package / "plugin.py").resolve(),
        (project.model_repository / "other" / "config.pbtxt").resolve(),
    }
    assert [result.action for result in taken_up(reloader(project, server, build), changed)] == [
        "build",
        "reload",
    ]
    assert server.calls == ["load other"]


def test_a_repository_that_is_gone_for_a_while_keeps_its_models(project, tmp_path):
    server = Server({"one": "READY", "two": "READY", "other": ""})
    subject = reloader(project, server)
    files = {(project.model_repository / "one" / "config.pbtxt").resolve()}
    project.model_repository.rename(tmp_path / "away")
    [result] = taken_up(subject, files)
    assert (result.name, result.error) == (str(project.model_repository), "there is no such folder now")
    (tmp_path / "away").rename(project.model_repository)
    taken_up(subject, files)
    assert server.calls == ["load one"]


def test_models_are_loaded_together(project):
    met = threading.Barrier(2, timeout=30)  # each waits for the other
    server = Server({"one": "READY", "two": "READY"})

    def load(name):
        met.wait()

    server.load = load
    results = taken_up(reloader(project, server), {(project.package / "plugin.py").resolve()})
    assert sorted((result.name, result.error) for result in results) == [("one", None), ("two", None)]


LOG = """
E1121 17:50:00.1 2 runtime.py:90] "triton: one: model_initialize failed: NameError: name 'x' is not defined"
E1121 17:50:00.1 2 runtime.py:90] "Traceback (most recent call last):"
E1121 17:50:00.1 2 runtime.py:90] "  File \"/p/echo/plugin.py\", line 5, in <module>"
E1121 17:50:00.1 2 runtime.py:90] "    FACTOR = x"
E1121 17:50:00.1 2 runtime.py:90] "NameError: name 'x' is not defined"
E1121 17:50:00.1 2 model_lifecycle.cc:642] "failed to load 'one' version 1: Internal: NameError: name 'x' is not defined"
"""
CONFIG_LOG = """
[libprotobuf ERROR /b/text_format.cc:337] Error parsing text-format inference.ModelConfig: 4:68: Message type "inference.ModelConfig" has no field named "y".
E1121 17:50:49.2 2 model_repository_manager.cc:1460] "Poll failed for model directory 'one': failed to read text proto from /p/one/config.pbtxt"
"""


SYNTAX_LOG = """
E1121 18:03:17.5 2 runtime.py:90] "triton: one: model_initialize failed: SyntaxError: '(' was never closed (plugin.py, line 6)"
E1121 18:03:17.5 2 runtime.py:90] "  File \\"/p/echo/plugin.py\\", line 6"
E1121 18:03:17.5 2 runtime.py:90] "    FACTOR = ("
E1121 18:03:17.5 2 model_lifecycle.cc:642] "failed to load 'one' version 1: Internal: SyntaxError: '(' was never closed (plugin.py, line 6)"
"""


@pytest.mark.parametrize(
    ("answer", "log", "told"),
    [
        ("load failed for model 'one': SyntaxError", SYNTAX_LOG, ("SyntaxError", "/p/echo/plugin.py:6")),
        (
            "load failed for model 'one': version 1 is at UNAVAILABLE state: Internal: NameError: x;",
            LOG,
            ("version 1 is at UNAVAILABLE state: Internal: NameError: x;", "/p/echo/plugin.py:5: <module>"),
        ),
        (
            "failed to load 'one', failed to poll from model repository",
            CONFIG_LOG,
            (
                '/p/one/config.pbtxt:4:68 cannot be read: Message type "inference.ModelConfig" '
                'has no field named "y".',
                None,
            ),
        ),
    ],
)
def test_the_place_of_an_error_comes_from_the_log(project, answer, log, told):
    server = Server({"one": "READY"})
    server.lines = [*LOG.replace("plugin", "older").splitlines()]

    def load(name):
        threading.Timer(0.05, lambda: server.lines.extend(log.splitlines())).start()
        return answer

    server.load = load
    [result] = taken_up(reloader(project, server), {(project.model_repository / "one" / "x").resolve()})
    assert (result.error, result.at) == told


def test_of_a_server_that_is_gone_no_log_is_awaited(project):
    server = Server({"one": "READY"})
    server.returncode = -9
    server.load = lambda name: "Socket closed"
    [result] = taken_up(reloader(project, server), {(project.model_repository / "one" / "x").resolve()})
    assert (result.error, result.at) == ("Socket closed", None)


def test_a_folder_that_cannot_be_touched_is_told(project, monkeypatch):
    def utime(path):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(reload_module.os, "utime", utime)
    server = Server({"one": "READY", "two": "READY"})
    results = taken_up(reloader(project, server), {(project.package / "plugin.py").resolve()})
    assert sorted(result.name for result in results) == ["one", "two"]
    assert all("Read-only file system" in result.error for result in results)
    assert server.calls == []
