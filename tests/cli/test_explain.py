import io
import json
import sys
from types import SimpleNamespace

import pytest

from tests.conftest import GOLDEN
from triton_backend_sdk.cli import run
from triton_backend_sdk.tools.explain.causes import causes

LOGS = sorted((GOLDEN / "explain").glob("*.log"))
#: Logs in which nothing is wrong.
FINE = ("fine",)


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log.stem)
def test_what_a_log_tells_is_golden(log, golden, capsys):
    status = run(["explain", str(log)])

    golden(f"explain/{log.stem}.txt", capsys.readouterr().out)
    assert status == (0 if log.stem in FINE else 1)


def ids(log: str, capsys) -> list[str]:
    run(["explain", str(GOLDEN / "explain" / f"{log}.log"), "--json"])
    return [finding["id"] for finding in json.loads(capsys.readouterr().out)["findings"]]


@pytest.mark.parametrize(
    ("log", "found"),
    [
        (
            "too_deep_2010",
            ["repository-is-a-model", "strict-old", "version-zeros", "shm-64mb", "no-driver"],
        ),
        ("crash_docker_t", ["crash-library"]),
        ("killed_compose", ["killed", "load-unfinished"]),
        ("gpu", ["tensorrt-version", "model-file", "gpu-memory"]),
        ("preload", ["preload-ignored", "custom-operation"]),
        ("stub_hangs", ["stub-libpython", "load-unfinished"]),
        ("azure", ["cloud-unreachable", "no-driver"]),
        ("silent_bucket", ["start-unfinished", "no-driver"]),
        ("unknown", ["unknown"]),
        ("shm", ["shm-full", "bus-error"]),
        ("checksum", ["checksum"]),
        ("fine", []),
    ],
)
def test_causes_in_their_order(log, found, capsys):
    assert ids(log, capsys) == found


def test_every_golden_log_has_its_causes():
    table = next(mark for mark in test_causes_in_their_order.pytestmark if mark.name == "parametrize")
    assert sorted(log for log, _ in table.args[1]) == [log.stem for log in LOGS]


def test_json(capsys):
    assert run(["explain", str(GOLDEN / "explain" / "too_deep_2010.log"), "--json"]) == 1

    answer = json.loads(capsys.readouterr().out)
    assert answer["server"] == {"version": "2.4.0", "model_repository": "/data/resnet"}
    first = answer["findings"][0]
    assert (first["lines"], first["rule"]) == ([16], "C02")
    assert first["do"][0] == "pass the folder above: --model-repository=/data/"
    assert [finding["id"] for finding in answer["led_to"]] == ["none-loaded", "shutdown-noise"]


def test_the_input(monkeypatch, capsys):
    text = (GOLDEN / "explain" / "stub_hangs.log").read_bytes()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(text)))

    assert run(["explain", "-"]) == 1

    assert "needs libpython3.8.so.1.0, which is not found" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot read"),
        (b"", "no line of a tritonserver's log"),
        (b"some text\nof another program\n", "no line of a tritonserver's log"),
        (b"\x1f\x8b\x08\x00", "is no text"),
    ],
    ids=["missing", "empty", "foreign", "packed"],
)
def test_what_cannot_be_read(tmp_path, content, says, capsys):
    log = tmp_path / "x.log"
    if content is not None:
        log.write_bytes(content)

    assert run(["explain", str(log)]) == 2

    assert says in " ".join(capsys.readouterr().err.split())


def test_what_is_no_utf8_is_read(tmp_path):
    log = tmp_path / "x.log"
    log.write_bytes(b'E0301 08:00:00.1 7 main.cc:1] "caf\xe9"\n')

    assert run(["explain", str(log)]) == 1


def test_a_large_log_is_read_in_seconds(tmp_path):
    log = tmp_path / "x.log"
    line = 'I0301 08:00:00.100000 7 http_server.cc:4713] "HTTP request: 2 /v2/models/m/infer"\n'
    log.write_text(line * 200_000 + 'E0301 08:00:00.1 7 main.cc:1] "odd"\n')

    assert run(["explain", str(log)]) == 1


def test_the_rules_are_those_of_check():
    named = {cause.rule for cause in causes() if cause.rule}
    assert named <= {f"C{number:02}" for number in range(1, 41)}


def test_the_commands_that_it_names_exist():
    from triton_backend_sdk import cli

    words = {
        text.split("tbsdk ", 1)[1].split()[0].strip(":;,.)")
        for cause in causes()
        for text in (*cause.do, cause.why or "")
        if "tbsdk " in text and not text.split("tbsdk ", 1)[1].startswith("(")
    }
    assert words - set(cli.COMMANDS) <= {"check"}


def test_causes_are_not_in_the_way_of_each_other():
    names = [cause.id for cause in causes()]
    assert len(set(names)) == len(names)
    assert {name for cause in causes() for name in cause.hides} <= set(names)
