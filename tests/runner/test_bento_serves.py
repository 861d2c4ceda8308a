"""Services of BentoML on real tritonservers: the example as its README has it, and what is exported, packed."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.runner.bento_service import ROOT, Service, environment
from tests.runner.conftest import wait_for
from tests.runtime.conftest import write_model
from triton_backend_sdk import cli

pytest.importorskip("bentoml", reason="pip install 'bentoml>=1.4'")

NAMES = ("text_normalize", "token_streaming")
#: Each of them would break a service that took it as it is.
ODD = [
    *("json", "lists", "model", "result", "self", "args", "ctx", "model_config", "copy", "http_errors"),
    *("batch", "version", "class", "ab-c", "ab_c", "é"),
]


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """The example's folder, copied with its neighbours; its README's first commands were run in it."""
    root = tmp_path_factory.mktemp("examples")
    for name in ("bentoml_service", *NAMES):
        shutil.copytree(ROOT / "examples" / name, root / name, ignore=shutil.ignore_patterns("build"))
    folder, env = root / "bentoml_service", environment(root / "home")
    builds = re.findall(r"^    tbsdk (build .*)$", (folder / "README.md").read_text(), re.MULTILINE)
    assert len(builds) == len(NAMES)
    for command in builds:
        words = [sys.executable, "-m", "triton_backend_sdk", *command.split()]
        subprocess.run(words, cwd=folder, env=env, check=True, timeout=60, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def texts(example):
    with Service(example, example.parent / "home") as service:
        yield service


def test_the_examples_readme_tells_what_happens(texts, example):
    text = (example / "README.md").read_text()
    sessions = re.findall(r"^\$ curl -s localhost:3000/(\w+) .* -d '(.*)'\n(.*)$", text, re.MULTILINE)
    assert len(sessions) == 3
    for path, body, expected in sessions:
        status, answer = texts.ask(path, body.encode())
        start, dots, end = expected.partition("...")
        assert answer.startswith(start), answer
        assert answer.endswith(end) if dots else answer == expected
        assert status == (400 if "error" in expected else 200)
    assert texts.get("versions") == {"text_normalize": ["1"], "token_streaming": ["1"]}


def test_bentomls_own_client(texts, example):
    [program] = re.findall(
        r"^```python\n(.*?)^```", (example / "README.md").read_text(), re.MULTILINE | re.DOTALL
    )
    command = [sys.executable, "-c", program.replace("http://localhost:3000", texts.url)]
    env = environment(example.parent / "home")
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.returncode) == ("['hello world']\n", 0), done.stderr


def test_many_at_once(texts):
    found = []
    threads = [
        threading.Thread(target=lambda at=at: found.append(texts.get("normalize", {"texts": [f" A  {at}"]})))
        for at in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted([f"a {at}"] for at in range(16))


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("normalize", {"texts": "no list"}),
        ("normalize", {"texts": [1]}),
        ("normalize", {}),
        ("normalize", b"{no json"),
        ("go_on", {"prompt": "of all these words none is known to it"}),
        ("go_on", {"prompt": "the", "tokens": 10**10}),
        ("go_on", {"prompt": "the", "tokens": "many"}),
    ],
)
def test_what_a_client_does_wrong_is_told_to_it(texts, path, document):
    status, text = texts.ask(path, document)
    assert status == 400
    assert "error" in text
    assert "check the server log" not in text


def test_the_load_test(texts, example):
    command = [sys.executable, "load.py", texts.url, "--seconds", "0.5", "--clients", "2"]
    env = environment(example.parent / "home")
    done = subprocess.run(
        command, cwd=example, env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert re.fullmatch(
        r"2 clients: \d+ requests/s, median .* ms, 99 % within .* ms\n0 failed\n", done.stdout
    ), done


def test_a_tritonserver_that_dies_is_started_again(texts):
    [dead] = tritonservers(texts)
    os.kill(dead, signal.SIGKILL)
    wait_for(lambda: dead not in tritonservers(texts))
    status, _ = texts.ask("normalize", {"texts": ["A"]})
    assert status in (200, 503)  # 503 where the call was under way
    assert texts.get("normalize", {"texts": ["A"]}) == ["a"]
    assert texts.ask("readyz")[0] == 200
    assert dead not in tritonservers(texts)


def test_ctrl_c_leaves_no_process(texts):
    """The last of those of this service: it ends it."""
    every = texts.pids()
    assert len(every) >= 3
    os.killpg(texts.process.pid, signal.SIGINT)
    wait_for(lambda: texts.process.poll() is not None, 30)
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in every))
    assert texts.process.poll() == 0


@pytest.fixture(scope="module")
def exported(tmp_path_factory, backends):
    """What `tbsdk bento export` writes for a repository with all that is odd."""
    folder = tmp_path_factory.mktemp("export")
    models = folder / "models"

    def model(name, inputs, outputs, kind="echo", **more):
        write_model(models, name, "relay", inputs, outputs, parameters={"kind": kind}, **more)

    row = {"IN": ("FP32", [-1])}, {"OUT": ("FP32", [-1])}
    model("rows", *row, batch=8)
    for name in ("np", "my-model.v2"):
        model(name, *row)
    model("odd", {name: ("FP32", [1]) for name in ODD}, {f"OUT{name[2:]}": ("FP32", [1]) for name in ODD})
    model(
        "maybe",
        {"IN0": row[0]["IN"], "IN1": ("FP32", [-1], "optional: true")},
        {"OUT0": ("FP32", [-1]), "OUT1": ("FP32", [-1])},
    )
    model("small", {"IN": ("INT8", [-1])}, {"OUT": ("INT8", [-1])})
    model("texts", {"IN": ("BYTES", [1])}, {"OUT": ("BYTES", [1])}, batch=8)
    decoupled = "model_transaction_policy { decoupled: true }"
    model("many", {"IN": ("INT32", [1])}, {"OUT": ("INT32", [1])}, "many", extra=decoupled)
    about = {"IN": ("INT32", [1])}, {"TOLD": ("BYTES", [1])}
    model("sequence", *about, "about", extra="sequence_batching { direct {} }")
    number = {"IN": ("INT32", [1])}, {"OUT": ("INT32", [1])}
    model("versions", *number, "version", extra="version_policy { all {} }")
    (models / "versions" / "3").mkdir()
    (models / "both" / "1").mkdir(parents=True)
    (models / "both" / "config.pbtxt").write_text(ENSEMBLE)
    run = CliRunner().invoke(
        cli.cli, ["bento", "export", str(models), "--name", "odd"], catch_exceptions=False
    )
    assert run.exit_code == 0
    service = folder / "service.py"
    service.write_text(service.read_text().replace('name="odd", traffic', 'name="odd", workers=2, traffic'))
    return folder


ENSEMBLE = """
platform: "ensemble"
input { name: "IN" data_type: TYPE_FP32 dims: -1 }
output { name: "OUT" data_type: TYPE_FP32 dims: -1 }
ensemble_scheduling { step { model_name: "np" model_version: -1 input_map { key: "IN" value: "IN" } output_map { key: "OUT" value: "OUT" } } }
"""


@pytest.fixture(scope="module")
def packed(exported, tmp_path_factory, backends):
    """That, built by `bentoml build`, and served from there by two workers with a server each."""
    home = tmp_path_factory.mktemp("home")
    command = [sys.executable, "-m", "bentoml", "build"]
    done = subprocess.run(
        command, cwd=exported, env=environment(home), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with Service("odd:latest", home, TBSDK_RUNNER_OPTIONS=f"backend-directory={backends}") as service:
        yield service


def test_bentoml_packs_what_is_exported(packed):
    [bento] = [path for path in packed.home.glob("bentos/odd/*") if path.is_dir()]
    assert (bento / "src" / "models" / "both" / "1").is_dir()
    containerfile = (bento / "env" / "docker" / "Dockerfile").read_text()
    assert re.search(r"^FROM \S+/tritonserver:26\.05-py3 ", containerfile, re.MULTILINE)
    assert "uv venv --python 3.12" in containerfile
    assert "triton-backend-sdk[client]" in (bento / "env" / "python" / "requirements.txt").read_text()


def test_each_worker_has_a_server(packed):
    wait_for(lambda: len(tritonservers(packed)) == 2, 60)


def test_all_that_is_exported_answers(packed):
    get = packed.get
    assert get("rows", {"IN": [1, 2]}) == {"OUT": [[1, 2]]}
    for name in ("np", "my_model_v2", "both"):
        assert get(name, {"IN": [1, 2]}) == {"OUT": [1, 2]}
    assert get("maybe", {"IN0": [1]}) == {"OUT0": [1], "OUT1": []}
    assert get("texts", {"IN": ["é"]}) == {"OUT": [["é"]]}
    status, text = packed.ask("many", {"IN": [2]})
    assert (status, [json.loads(line) for line in text.splitlines()]) == (200, [{"OUT": [0]}, {"OUT": [1]}])
    told = get("sequence", {"IN": [1], "sequence_id": "mine", "sequence_start": True, "sequence_end": True})
    assert json.loads(told["TOLD"][0])["sequence"] == "mine"
    assert get("versions", {"IN": [0]}) == {"OUT": [3]}
    assert get("infer", {"model": "versions", "inputs": {"IN": [0]}, "version": "1"}) == {"OUT": [1]}
    assert len({row["name"] for row in get("models")}) == 11


def test_inputs_with_any_name_are_inputs(packed):
    schema = json.loads(packed.ask("schema.json")[1])
    [route] = [each for each in schema["routes"] if each["name"] == "odd"]
    arguments = route["input"]["properties"]
    assert len(arguments) == len(ODD)
    given = {argument: [at] for at, argument in enumerate(arguments)}
    assert packed.get("odd", given) == {f"OUT{name[2:]}": [at] for at, name in enumerate(ODD)}


@pytest.mark.parametrize(
    ("path", "document", "status", "words"),
    [
        ("small", {"IN": [300]}, 400, "300 to 300 is out of INT8's range"),
        ("small", {"IN": [1.5]}, 400, "got fractions, the model wants INT8"),
        ("rows", {"IN": [[1], [2, 3]]}, 400, "rows of different lengths"),
        ("rows", {"IN": ["a"]}, 400, "with texts, the model wants FP32"),
        ("texts", {"IN": [1]}, 400, "the model wants str or bytes"),
        ("many", {"IN": [1, 2]}, 400, "got shape [2], the model wants [1]"),
        ("sequence", {"IN": [1], "sequence_id": 0}, 400, "non-zero or non-empty correlation ID"),
        ("infer", {"model": "nosuch", "inputs": {}}, 404, "unknown model: 'nosuch'"),
        ("infer", {"model": "rows", "inputs": {}}, 400, "rows needs 1 more input(s), IN"),
        ("infer", {"model": "many", "inputs": {"IN": [1]}}, 400, "many gives any number of responses"),
        ("infer", {"model": "rows", "inputs": {"IN": [1]}, "version": "9"}, 404, "version 9 is not found"),
    ],
)
def test_what_is_wrong_in_a_request_is_told(packed, path, document, status, words):
    found, text = packed.ask(path, document)
    assert (found, words in text) == (status, True), text


def test_a_triton_that_runs_is_shared(exported, started, tmp_path):
    """`tbsdk bento serve`, too, is `bentoml serve`."""
    how = ("triton_backend_sdk", "bento")
    with Service(exported, tmp_path, module=how, TRITON_URL=started.url) as service:
        assert service.get("rows", {"IN": [[1, 2]]}) == {"OUT": [[1, 2]]}
        assert tritonservers(service) == []


def tritonservers(service):
    return [pid for pid in service.pids() if name_of(pid) == "tritonserver"]


def name_of(pid):
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
