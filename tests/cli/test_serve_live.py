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
from .test_serve import ROOT, TBSDK, serve  # noqa: F401  the fixture

READY = ModelStatus("rows", "1", "READY", "")
LOST = ModelStatus("lost", "", "UNAVAILABLE", "no such file")


def drawn(models, activity):
    console = Console(width=100, file=io.StringIO())
    console.print(live_view.table(models, activity))
    return [line.split() for line in console.file.getvalue().splitlines()]


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


def test_lines_tell_states_that_changed():
    seen = {}
    assert live_view.changed_states([READY, LOST], seen) == []
    assert live_view.changed_states([READY, LOST], seen) == []
    mended = ModelStatus("lost", "", "READY", "")
    assert live_view.changed_states([READY, mended], seen) == [mended]
    assert live_view.model_line(LOST) == "lost version - is UNAVAILABLE: no such file"


def test_lines_tell_what_models_did():
    does = {("a", "1"): Activity(2.0, 1.0, 0.001, None), ("b", "1"): Activity(0, 0, None, None)}
    assert live_view.activity_lines(does) == ["a version 1: 2.0 requests/s, average 1.00 ms, 1.0 failures/s"]


@pytest.fixture
def project(tmp_path):
    return write_echo_project(tmp_path / "project", {"rows": ECHO_MODELS["rows"]})


def test_a_terminal_shows_a_table_that_changes(project):
    screen, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 150, 0, 0))
    process = subprocess.Popen(
        [*TBSDK, "serve", project.root],
        stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color"},
    )  # fmt: skip
    os.close(terminal)
    text = []
    reader = threading.Thread(target=read, args=(screen, text), daemon=True)
    reader.start()
    try:
        url = wait_for(text, r"http +(http://127\.0\.0\.1:\d+)")[1]
        wait_for(text, r"requests/s")
        body = {"inputs": [{"name": "IN", "datatype": "FP32", "shape": [1, 1], "data": [1.0]}]}
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        deadline = time.monotonic() + 30
        busy = re.compile(r"rows +1 +READY +\d*[1-9]\d*\.\d +0\.0 +\d+\.\d\d ms +\d+\.\d\d ms")
        while not busy.search(plain(text)):
            assert time.monotonic() < deadline, plain(text)[-2000:]
            opener.open(f"{url}/v2/models/rows/infer", data=json.dumps(body).encode(), timeout=10).close()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        wait_for(text, "stopped")
    finally:
        process.kill()
        process.wait()
        reader.join(5)
        os.close(screen)


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
    time.sleep(1.5)  # the view looks once a second
    opener.open(f"{url}/v2/repository/models/rows/unload", data=b"{}", timeout=10).close()
    one.wait_for("rows version 1 is UNAVAILABLE: unloaded")
    one.process.send_signal(signal.SIGINT)
    assert one.end() == 0
    assert not any("\x1b" in line for line in one.lines)
