"""What ``tbsdk serve`` shows while it runs, in a terminal and elsewhere."""

import contextlib
import fcntl
import io
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
import urllib.request

import pytest
from rich.console import Console

from triton_backend_sdk.cli import live_view
from triton_backend_sdk.tools.activity import Activity
from triton_backend_sdk.tools.server import ModelStatus

from ..conftest import ECHO_MODELS, write_echo_project
from .test_serve import ROOT, TBSDK, serve, server_pid  # noqa: F401  the fixture

READY = ModelStatus("rows", "1", "READY", "")
LOST = ModelStatus("lost", "", "UNAVAILABLE", "no such file")


def drawn(models, activity, width=100, height=50):
    return [line.split() for line in lines(models, activity, width, height)]


def lines(models, activity, width, height):
    console = Console(width=width, file=io.StringIO())
    console.print(live_view.table(models, activity, width=width, height=height))
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_the_table():
    rows = drawn([READY, LOST], {("rows", "1"): Activity(1234.5, 0.5, 0.0021, 0.0018)})
    assert rows[0] == ["model", "version", "state", "requests/s", "failures/s", "average", "median"]
    assert rows[1] == ["lost", "-", "UNAVAILABLE", "0.0", "0.0", "-", "-"]
    assert rows[2] == ["rows", "1", "READY", "1,234.5", "0.5", "2.10", "ms", "1.80", "ms"]


def test_of_many_models_the_busiest_are_shown():
    models = [ModelStatus(f"m{number}", "1", "READY", "") for number in range(100)]
    rows = drawn(models, {("m77", "1"): Activity(5, 0, None, None)})
    assert rows[1][0] == "m77"
    assert rows[-1] == ["and", "80", "more"]


def test_models_that_failed_come_before_those_that_rest():
    models = [ModelStatus(f"m{number}", "1", "READY", "") for number in range(100)]
    models += [ModelStatus("off", "1", "UNAVAILABLE", "unloaded"), LOST]
    rows = drawn(models, {("m77", "1"): Activity(5, 0, None, None)}, height=10)
    assert [row[0] for row in rows] == ["model", "m77", "lost", *["m0", "m1", "m10", "m11", "m12"], "and"]
    assert "off" not in [row[0] for row in rows]
    assert len(rows) == 9


LONG = ModelStatus("a_model_whose_name_goes_on_and_on" * 3, "1", "READY", "")


@pytest.mark.parametrize(
    ("width", "columns"),
    [
        (120, ["model", "version", "state", "requests/s", "failures/s", "average", "median"]),
        (80, ["model", "version", "state", "requests/s", "failures/s", "average"]),
        (60, ["model", "state", "requests/s", "average"]),
        (40, ["model", "state", "requests/s"]),
        (20, ["model", "requests/s"]),
    ],
)
def test_in_a_narrow_terminal_numbers_stay_whole(width, columns):
    does = {("rows", "1"): Activity(1234.5, 0.5, 0.0021, 0.0018), (LONG.name, "1"): Activity(1, 0, 0.5, 0.5)}
    shown = lines([READY, LOST, LONG], does, width, 24)
    assert shown[0].split() == columns
    assert max(map(len, shown)) <= width
    assert sum("…" in line for line in shown) == 1  # the long name
    [rows] = [line for line in shown if line.startswith(" rows")]
    assert "1,234.5" in rows


def test_lines_tell_states_that_changed():
    seen = {("rows", "1"): "READY", ("lost", ""): "UNAVAILABLE"}
    assert live_view.changed_states([READY, LOST], seen) == []
    mended = ModelStatus("lost", "", "READY", "")
    assert live_view.changed_states([READY, mended], seen) == [mended]
    assert live_view.model_line(LOST) == "lost version - is UNAVAILABLE: no such file"


def test_lines_tell_what_models_did():
    does = {("a", "1"): Activity(2.0, 1.0, 0.001, None), ("b", "1"): Activity(0, 0, None, None)}
    assert live_view.activity_lines(does) == ["a version 1: 2.0 requests/s, average 1.00 ms, 1.0 failures/s"]


#: Writes its lines of what models do each second, not each ten.
HURRIED = (sys.executable, "-c", (
    "import sys; from triton_backend_sdk.cli import live_view, main\n"
    "live_view._LINES_S = 1.0; sys.exit(main())"
))  # fmt: skip


@pytest.fixture
def project(tmp_path):
    return write_echo_project(tmp_path / "project", {"rows": ECHO_MODELS["rows"]})


@contextlib.contextmanager
def in_a_terminal(*words, env=None, tbsdk=TBSDK):
    """Give a running ``tbsdk serve`` and what it wrote to its terminal."""
    screen, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 150, 0, 0))
    process = subprocess.Popen(
        [*tbsdk, "serve", *map(str, words)],
        stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", **(env or {})},
    )  # fmt: skip
    os.close(terminal)
    text = []
    reader = threading.Thread(target=read, args=(screen, text), daemon=True)
    reader.start()
    try:
        yield process, text
    finally:
        process.kill()
        process.wait()
        reader.join(5)
        os.close(screen)


def ask(url):
    body = {"inputs": [{"name": "IN", "datatype": "FP32", "shape": [1, 1], "data": [1.0]}]}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    opener.open(f"{url}/v2/models/rows/infer", data=json.dumps(body).encode(), timeout=10).close()


def test_a_terminal_shows_a_table_that_changes(project):
    with in_a_terminal(project.root) as (process, text):
        url = wait_for(text, r"http +(http://127\.0\.0\.1:\d+)")[1]
        wait_for(text, r"requests/s")
        deadline = time.monotonic() + 30
        busy = re.compile(r"rows +1 +READY +\d*[1-9]\d*\.\d +0\.0 +\d+\.\d\d ms +\d+\.\d\d ms")
        while not busy.search(plain(text)):
            assert time.monotonic() < deadline, plain(text)[-2000:]
            ask(url)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        wait_for(text, "stopped")


def test_a_terminal_whose_cursor_stays_gets_lines(project):
    with in_a_terminal(project.root, env={"TERM": "dumb"}, tbsdk=HURRIED) as (_, text):
        url = wait_for(text, r"http +(http://127\.0\.0\.1:\d+)")[1]
        deadline = time.monotonic() + 60
        while not re.search(r"rows version 1: \d+\.\d requests/s, average", "".join(text)):
            assert time.monotonic() < deadline, plain(text)[-2000:]
            ask(url)
        assert "\x1b" not in "".join(text)


def test_a_terminal_shows_how_a_server_died(project):
    with in_a_terminal(project.root) as (process, text):
        wait_for(text, r"requests/s")
        os.kill(server_pid(process.pid), signal.SIGKILL)
        assert process.wait(30) == 1
        told = wait_for(text, r"(?s)error: tritonserver ended by itself \(signal SIGKILL\)(.*)")[1]
        assert "Started HTTPService" in told
        assert "+---" not in told


def read(screen, text):
    with contextlib.suppress(OSError):  # the other end was closed
        while piece := os.read(screen, 65536):
            text.append(piece.decode(errors="replace"))


def plain(text):
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", "".join(text))


def wait_for(text, pattern):
    deadline = time.monotonic() + 60
    while not (found := re.search(pattern, plain(text))):
        assert time.monotonic() < deadline, plain(text)[-2000:]
        time.sleep(0.05)
    return found


def test_without_a_terminal_there_are_lines(serve, project):  # noqa: F811
    one = serve(project.root, "--model-control-mode=explicit", "--load-model=rows")
    one.wait_for("curl -s")
    url = one.wait_for("http     ").split()[1]
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    opener.open(f"{url}/v2/repository/models/rows/unload", data=b"{}", timeout=10).close()
    one.wait_for("rows version 1 is UNAVAILABLE: unloaded")
    one.process.send_signal(signal.SIGINT)
    assert one.end() == 0
    assert not any("\x1b" in line for line in one.lines)
