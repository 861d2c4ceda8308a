import gzip
import io
import json
import signal
import subprocess
import sys
import time
import tracemalloc
from types import SimpleNamespace

import pytest

from tests.conftest import GOLDEN
from triton_backend_sdk.cli import run
from triton_backend_sdk.tools.explain.causes import candidates, causes
from triton_backend_sdk.tools.explain.explanation import explain, tells_something
from triton_backend_sdk.tools.explain.records import read
from triton_backend_sdk.tools.server_errors import start_error

LOGS = sorted((GOLDEN / "explain").glob("*.log"))
#: Logs in which nothing is wrong.
FINE = ("fine",)


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log.stem)
def test_what_a_log_tells_is_golden(log, golden, capsys):
    status = run(["explain", str(log)])

    golden(f"explain/{log.stem}.txt", capsys.readouterr().out)
    assert status == (0 if log.stem in FINE else 1)


def test_what_serve_says_at_the_end_of_its_log_is_not_told_twice():
    poll = "Poll failed for model directory 'b': failed to read text proto from /m/b/config.pbtxt"
    log = [
        '[libprotobuf ERROR /b/text_format.cc:337] Error parsing text-format inference.ModelConfig: 4:1: Expected "]".',
        f'E1121 20:41:14.340224 1 model_repository_manager.cc:1460] "{poll}"',
        "error: creating server: Internal - failed to load all models",
    ]
    [finding] = explain(read([*log, *str(start_error(log, 1)).splitlines()])).findings
    assert (finding.id, finding.lines) == ("config-field", [1, 5])


def ids(log: str, capsys) -> list[str]:
    run(["explain", str(GOLDEN / "explain" / f"{log}.log"), "--json"])
    return [finding["id"] for finding in json.loads(capsys.readouterr().out)["findings"]]


@pytest.mark.parametrize(
    ("log", "found"),
    [
        (
            "too_deep_2010",
            ["repository-is-a-model", "strict-old-model", "version-zeros", "shm-64mb", "no-driver"],
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
        (
            "frameworks",
            [
                "broken-file",
                "broken-file",
                "config-and-file",
                "config-and-file",
                "batch-of-file",
                "tensor-names",
                "tensorrt-version",
                "only-gpu",
                "driver-too-old",
                "no-model-config",
                "backend-library",
                "gpu-limit",
                "onnx-version",
            ],
        ),
        ("stops_for_ever", ["stop-unfinished", "no-driver"]),
        ("driver", ["driver-too-old"]),
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
    monkeypatch.setattr(
        sys, "stdin", SimpleNamespace(buffer=io.BufferedReader(io.BytesIO(text)), isatty=lambda: False)
    )

    assert run(["explain", "-"]) == 1

    assert "needs libpython3.8.so.1.0, which is not found" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot read"),
        (b"", "no line of a tritonserver's log"),
        (b"some text\nof another program\n", "no line of a tritonserver's log"),
        (b"\x1f\x8b\x08\x00", "cannot unpack"),
        (b"\x7fELF\0\0\1", "no line of a tritonserver's log"),
    ],
    ids=["missing", "empty", "foreign", "packed", "binary"],
)
def test_what_cannot_be_read(tmp_path, content, says, capsys):
    log = tmp_path / "x.log"
    if content is not None:
        log.write_bytes(content)

    assert run(["explain", str(log)]) == 2

    assert says in " ".join(capsys.readouterr().err.split())


def test_a_folder_is_no_log(tmp_path, capsys):
    assert run(["explain", str(tmp_path)]) == 2

    assert "is a folder, not a log" in capsys.readouterr().err


ONE_ERROR = 'E0301 08:00:00.1 7 main.cc:1] "CUDA out of memory. Tried to allocate 2 GiB"\n'
FORMS = {
    "gz": gzip.compress(ONE_ERROR.encode()),
    "utf-16": ONE_ERROR.encode("utf-16"),
    "utf-16-be": b"\xfe\xff" + ONE_ERROR.encode("utf-16-be"),
    "bom": b"\xef\xbb\xbf" + ONE_ERROR.encode(),
    "gz-utf-16": gzip.compress(ONE_ERROR.encode("utf-16")),
    "crlf": ONE_ERROR.replace("\n", "\r\n").encode(),
    "rotated": b"\0" * 5000 + ONE_ERROR.encode(),
    "behind-a-bar": b" 10%\r 20%\r100%\r" + ONE_ERROR.encode(),
    "colours": b"\x1b[31m" + ONE_ERROR.strip().encode() + b"\x1b[0m\n",
    "no-last-newline": ONE_ERROR.strip().encode(),
    "kubectl": b"[pod/triton-0/server] 2026-03-01T08:00:00.123456789Z " + ONE_ERROR.encode(),
    "compose": b"triton-1  | " + ONE_ERROR.encode(),
    "docker-t": b"2026-03-01T08:00:00.123456789Z " + ONE_ERROR.encode(),
    "json-file": json.dumps({"log": ONE_ERROR, "stream": "stderr"}).encode() + b"\n",
    "iso": b'2026-03-01T08:00:00Z E 7 main.cc:1] "CUDA out of memory. Tried to allocate 2 GiB"\n',
    "behind-a-long-line": b"x" * (3 << 20) + b"\n" + ONE_ERROR.encode(),
    "after-what-a-shell-said": b"+ tritonserver --model-repository=/models\n" + ONE_ERROR.encode(),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_a_log(form, tmp_path, capsys):
    log = tmp_path / "x.log"
    log.write_bytes(FORMS[form])

    assert run(["explain", str(log), "--json"]) == 1

    [finding] = json.loads(capsys.readouterr().out)["findings"]
    assert finding["id"] == "gpu-memory"
    assert finding["lines"] == [2 if form.startswith(("behind-a-long", "after")) else 1]


def test_ctrl_c_ends_a_log_that_goes_on(tmp_path):
    """As of `docker logs -f`: what came until then is explained."""
    command = [sys.executable, "-m", "triton_backend_sdk", "explain", "-", "--json"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdin.write(ONE_ERROR.encode() * 20_000)  # more than a pipe holds: it reads
        process.stdin.flush()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)

    assert process.returncode == 1
    assert json.loads(out)["findings"][0]["id"] == "gpu-memory"
    assert b"what came until now" in err


def test_what_is_read_is_not_kept():
    def lines():
        for number in range(20_000):
            yield f'I0301 08:00:00.1 7 http_server.cc:4713] "HTTP request: 2 /v2/models/m{number}/infer"\n'
            yield f"{number} is what a model prints, {'at some length ' * 10}\n"
            yield ONE_ERROR

    tracemalloc.start()
    log = read(lines(), tells_something)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert [record.text for record in log.records] == ["CUDA out of memory. Tried to allocate 2 GiB"]
    assert len(log.records[0].lines) == 20_000
    assert peak < 20 << 20


def test_too_many_different_errors_are_counted():
    lines = (f'E0301 08:00:00.1 7 a.cc:1] "odd x{number:x}y"' for number in range(20_010))

    log = read(lines, tells_something)

    assert (len(log.records), log.passed_over) == (20_000, 10)


def test_many_findings_of_one_kind(tmp_path, capsys):
    log = tmp_path / "x.log"
    log.write_text("".join(f'E0301 08:00:00.1 7 a.cc:1] "odd x{number:x}y"\n' for number in range(20_005)))

    assert run(["explain", str(log)]) == 1

    said = capsys.readouterr().out
    assert said.count("  odd x") == 20  # each with its line
    assert "and 19990 more of the same kinds" in said
    assert "5 further messages were passed over" in said


def test_one_cause_names_all_its_models(tmp_path, capsys):
    log = tmp_path / "x.log"
    text = "unable to find backend library for backend 'nowhere', try specifying runtime"
    log.write_text(
        "".join(
            f"E0301 08:00:00.1 7 a.cc:1] \"failed to load 'm{number}' version 1: Invalid argument: {text}\"\n"
            for number in range(12)
        )
    )

    assert run(["explain", str(log)]) == 1

    said = capsys.readouterr().out
    assert "2. error" not in said
    assert "m8, m9 and 2 more" in said


def test_an_ensemble_without_a_model_that_nothing_else_is_said_of(tmp_path, capsys):
    log = tmp_path / "x.log"
    for member, more in (
        ("nowhere", ""),
        ("lost", "failed to load 'lost' version 1: Internal: Stub process 'x' died"),
    ):
        log.write_text(
            "E0301 08:00:00.1 7 a.cc:1] \"Invalid argument: ensemble 'all' contains models that are not available or "
            f'ambiguous: {member}"\nE0301 08:00:00.1 7 a.cc:1] "{more}"\n'
        )
        run(["explain", str(log), "--json"])
        answer = json.loads(capsys.readouterr().out)
        place = "led_to" if more else "findings"
        assert [(each["id"], each["models"], each["needs"]) for each in answer[place]] == [
            ("ensemble-member", ["all"], [member])
        ]


def test_what_is_remembered_of_messages_is_what_their_patterns_say():
    """Causes are looked up by a message's shape, in which large numbers and hashes are all the same."""
    for path in LOGS:
        for record in read(path.read_text().split("\n")).records:
            fits = {cause.id for cause in candidates(record.text, record.level)}
            looked_at = [each for each in causes() if each.info or each.follows or record.level != "I"]
            assert fits == {each.id for each in looked_at if each.match(record.text) is not None}


@pytest.mark.parametrize("piece", ["x", "/a", "x ", "'a' ", "failed to load '", "input 'a' ", "1"])
def test_no_line_takes_long(piece):
    """A pattern that begins anywhere and goes on for long would take minutes for a line of one long word."""
    text = piece * (20_000 // len(piece))

    started = time.monotonic()
    read([text, f'E0301 08:00:00.1 7 main.cc:1] "{text}"'], tells_something)

    assert time.monotonic() - started < 20


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
