"""``tbsdk serve --watch``: an edit is taken up, by the real server, while clients ask on."""

import json
import signal
import threading
import time
import urllib.error
import urllib.request

import pytest

from triton_backend_sdk.cli import run
from triton_backend_sdk.tools.errors import HandledError

from ..conftest import ECHO_MODELS, tensors, write_echo_project
from .test_serve import DOUBLES, serve  # noqa: F401  the fixture

#: Under two seconds on a machine at rest; here others run beside.
LIMIT_S = 30.0
TIMES = """
import time

from triton_backend_sdk import Response, hookimpl

FACTOR = 1

@hookimpl
def initialize(instance):
    time.sleep(instance.model.parameters.get_float("slow", 0))

@hookimpl
def execute(requests):
    return [Response({"OUT": request["IN"].numpy() * FACTOR}) for request in requests]
"""
BODY = json.dumps({"inputs": [{"name": "IN", "datatype": "FP32", "shape": [1, 1], "data": [1.0]}]}).encode()


def ask(url, model):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{url}/v2/models/{model}/infer", data=BODY, timeout=10) as answer:
        return json.loads(answer.read())["outputs"][0]["data"][0]


def answers_with(url, model, value, within=LIMIT_S):
    """Wait until the model answers with a value, and give how long that took."""
    begin = time.monotonic()
    while ask(url, model) != value:
        assert time.monotonic() - begin < within, f"still {ask(url, model)} after {within} s, not {value}"
        time.sleep(0.01)
    return time.monotonic() - begin


def started(serve, *words):  # noqa: F811
    one = serve(*words, "--watch")
    one.wait_for("ready;")
    one.wait_for("curl -s")
    return one, one.wait_for("http     ").split()[1]


@pytest.fixture
def project(tmp_path):
    slow = ECHO_MODELS["rows"] + '\nparameters { key: "slow" value { string_value: "0.5" } }'
    written = write_echo_project(tmp_path / "project", {"rows": ECHO_MODELS["rows"], "slow": slow})
    (written.package / "plugin.py").write_text(TIMES)
    return written


def edit(project, old, new):
    plugin = project.package / "plugin.py"
    plugin.write_text(plugin.read_text().replace(old, new))


def test_edits_are_taken_up_one_after_the_other(serve, project):  # noqa: F811
    one, url = started(serve, project.root)
    assert ask(url, "rows") == 1.0
    for factor in (2, 3, 4):  # of the same size, and more than one in a second
        edit(project, f"FACTOR = {factor - 1}", f"FACTOR = {factor}")
        print(f"taken up in {answers_with(url, 'rows', factor):.2f} s")
    one.wait_for("rows: reloaded in")
    one.process.send_signal(signal.SIGINT)
    assert one.end(within=15) == 0
    assert one.lines[-1] == "stopped"  # also where a load failed


def test_the_old_code_answers_until_the_new_one_is_ready(serve, project):  # noqa: F811
    config = project.model_repository / "slow" / "config.pbtxt"
    config.write_text(config.read_text().replace('"0.5"', '"1.5"'))
    _, url = started(serve, project.root)
    answers, stop = [], threading.Event()

    def client():
        while not stop.is_set():
            answers.append(ask(url, "slow"))
            time.sleep(0.005)  # the server needs the processor, too

    thread = threading.Thread(target=client)
    thread.start()
    try:
        edit(project, "FACTOR = 1", "FACTOR = 2")
        answers_with(url, "slow", 2.0)
        while answers[-1] != 2.0:
            time.sleep(0.01)
    finally:
        stop.set()
        thread.join(10)
    assert answers == sorted(answers)
    assert set(answers) == {1.0, 2.0}
    assert answers.count(1.0) > 2  # while initialize slept


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ("FACTOR = (", "SyntaxError"),
        ("FACTOR = nonsense", "NameError"),
        ("import no_such_module\nFACTOR = 1", "no_such"),
    ],
)
def test_a_broken_edit_is_told_and_the_old_code_answers_on(serve, project, broken, words):  # noqa: F811
    one, url = started(serve, project.root)
    edit(project, "FACTOR = 1", broken)
    one.wait_for("rows: the change cannot be taken up; the old one goes on answering")
    one.wait_for("slow: the change cannot be taken up; the old one goes on answering")
    one.wait_for(words)
    one.wait_for(f"  at {project.package}/plugin.py:")
    assert ask(url, "rows") == 1.0
    edit(project, broken, "FACTOR = 5")
    answers_with(url, "rows", 5.0)


def test_a_changed_config_and_a_new_and_a_removed_model_are_taken_up(serve, project, tmp_path):  # noqa: F811
    one, url = started(serve, project.root)
    more = project.model_repository / "more"
    (more / "1").mkdir(parents=True)
    (more / "config.pbtxt").write_text('backend: "echo"\n' + ECHO_MODELS["rows"])
    one.wait_for("more: loaded in")
    assert ask(url, "more") == 1.0
    config = project.model_repository / "rows" / "config.pbtxt"
    config.write_text(config.read_text().replace('"OUT"', '"RESULT"'))
    edit(project, '"OUT"', '"RESULT"')
    one.wait_for("rows: reloaded")
    answers_with(url, "rows", 1.0)
    (more / "config.pbtxt").unlink()
    (more / "1").rmdir()
    more.rmdir()
    one.wait_for("more: unloaded")
    with pytest.raises(urllib.error.HTTPError):
        ask(url, "more")


def test_a_config_that_cannot_be_read_is_told_with_its_place(serve, project):  # noqa: F811
    one, url = started(serve, project.root)
    config = project.model_repository / "rows" / "config.pbtxt"
    config.write_text(config.read_text() + "\nnonsense: 1")
    one.wait_for("rows: the change cannot be taken up; the old one goes on answering")
    one.wait_for(f"  {config}:")
    assert ask(url, "rows") == 1.0


def test_a_repository_that_is_away_for_a_while(serve, project, tmp_path):  # noqa: F811
    one, url = started(serve, project.root)
    project.model_repository.rename(tmp_path / "away")
    one.wait_for(f"{project.model_repository}: the change cannot be taken up; the old one goes on answering")
    assert ask(url, "rows") == 1.0
    edit(project, "FACTOR = 1", "FACTOR = 2")
    (tmp_path / "away").rename(project.model_repository)
    answers_with(url, "rows", 2.0)


def test_a_model_that_writes_beside_its_code_is_not_loaded_without_an_end(serve, project):  # noqa: F811
    cache = project.package / "cache.bin"
    edit(project, "FACTOR = 1", f"open({str(cache)!r}, 'a').write('x')\nFACTOR = 1")
    one, _ = started(serve, project.root)
    one.wait_for(f"{cache} changes whenever its model is loaded: it is watched no more")
    size = cache.stat().st_size
    edit(project, "FACTOR = 1", "FACTOR = 3")
    one.wait_for("slow: reloaded")
    answers_with(one.wait_for("http     ").split()[1], "rows", 3.0)
    assert cache.stat().st_size <= size + 2  # once for each model


def test_a_model_that_is_broken_at_the_start_is_mended(serve, project):  # noqa: F811
    edit(project, "FACTOR = 1", "FACTOR = (")
    one = serve(project.root, "--watch")
    one.wait_for("rows version 1  UNAVAILABLE")
    url = one.wait_for("http     ").split()[1]
    edit(project, "FACTOR = (", "FACTOR = 7")
    one.wait_for("rows: loaded in")
    answers_with(url, "rows", 7.0)


def test_a_project_file_that_is_broken_is_told(serve, project):  # noqa: F811
    one, url = started(serve, project.root)
    (project.root / "pyproject.toml").write_text(
        '[project]\nname = "echo"\n[tool.tbsdk]\nbackend = "echo"\nexecution-policy = "what"\n'
    )
    one.wait_for("echo: the change cannot be taken up; the old one goes on answering")
    assert ask(url, "rows") == 1.0


def test_a_model_py_is_reloaded(serve, tmp_path):  # noqa: F811
    version = tmp_path / "models" / "doubles" / "1"
    version.mkdir(parents=True)
    (version / "model.py").write_text(DOUBLES)
    (version.parent / "config.pbtxt").write_text(
        'backend: "python"\nmax_batch_size: 8\n' + tensors({"": "TYPE_FP32"})
    )
    one, url = started(serve, "--compat", tmp_path / "models")
    assert ask(url, "doubles") == 2.0
    (version / "model.py").write_text(DOUBLES.replace("* 2", "* 3"))
    print(f"taken up in {answers_with(url, 'doubles', 3.0):.2f} s")
    (version / "model.py").write_text("def (")
    one.wait_for("doubles: the change cannot be taken up; the old one goes on answering")
    assert ask(url, "doubles") == 3.0


def test_poll_mode_is_refused(project):
    with pytest.raises(HandledError, match="--watch and --model-control-mode=poll rule each other out"):
        run(["serve", str(project.root), "--watch", "--model-control-mode=poll"])
