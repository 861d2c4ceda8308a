"""What `tbsdk explain` makes of logs that the real server writes here and now."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from benchmarks.layout import place_backend
from benchmarks.rows import STOCK
from tests.integration.test_bad_input import GOOD
from tests.integration.test_compat_stock import add, stock  # noqa: F401  a fixture
from tests.runtime.conftest import FP32, write_model, write_project
from triton_backend_sdk.cli import run
from triton_backend_sdk.tools.build import build_backend
from triton_backend_sdk.tools.installation import find_server
from triton_backend_sdk.tools.ports import choose_ports

Flags = list[str]
GOLDENS_OF = "2.51.0"


def log_of(folder: Path, flags: Flags, seconds: float = 30, env: Mapping[str, str] | None = None) -> Path:
    """Run the server until it ends or serves, or for some seconds, and give its log."""
    ports = choose_ports(dict.fromkeys(("http", "grpc", "metrics"), None))
    given = " ".join(flags)
    more = [
        f"--{name}{part}"
        for name, port in ports.items()
        for part in (f"-port={port}", "-address=127.0.0.1")
        if f"--{name}{part.partition('=')[0]}" not in given
    ]
    more.append("--metrics-interval-ms=50")  # or each stop waits for a second: it comes after a look
    process = subprocess.Popen(
        [find_server().binary, *flags, *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        env={**os.environ, **(env or {})},
    )
    assert process.stdout is not None
    lines = []
    timers = [threading.Timer(seconds, process.kill)]
    timers[0].start()
    with process, process.stdout:
        for line in process.stdout:
            lines.append(line)
            if "Started Metrics Service" in line:  # the last one; without its port the server ends now
                timers.append(threading.Timer(1, process.terminate))
                timers[-1].start()
    for timer in timers:
        timer.cancel()
    log = folder / "server.log"
    log.write_text("".join(lines), encoding="utf-8")
    return log


def plain(text: str, folder: Path) -> str:
    """Take out what differs from run to run."""
    text = re.sub(r"(?m)^   lines? [\d, +]+ ", "   line N  ", text.replace(str(folder), "DIR"))
    text = re.sub(r"(127\.0\.0\.1:|port |:)\d{4,5}\b", r"\1PORT", text)
    text = re.sub(r"\d\. note .*?(?=\n\n|\Z)", "(notes)", text, flags=re.DOTALL)
    binary = str(find_server().binary)
    return text.replace(binary, "tritonserver").replace(find_server().version or "?", "VERSION")


def in_order(text: str) -> str:
    """Sort the findings: the server loads models in any order."""
    *findings, led_to = (re.sub(r"^\d+", "N", part) for part in text.rstrip().split("\n\n"))
    return "\n\n".join([*sorted(findings), "\n".join(sorted(led_to.splitlines(), reverse=True))]) + "\n"


def too_deep(folder: Path) -> Flags:
    model = folder / "repository" / "resnet"
    (model / "1").mkdir(parents=True)
    (model / "1" / "model.onnx").touch()
    return [f"--model-repository={model}", "--disable-auto-complete-config"]


def several(folder: Path) -> Flags:
    """A repository with many faults: the ensemble's is only what follows from another."""
    repository = folder / "repository"
    io = 'input { name: "IN" data_type: TYPE_FP32 dims: 4 } output { name: "OUT" data_type: TYPE_FP32 dims: 4 }'
    configs = {
        "typo": f'backend: "nowhere" max_batchsize: 4 {io}',
        "other": f'name: "another" backend: "nowhere" {io}',
        "library": f'backend: "nowhere" {io}',
        "batches": f'backend: "nowhere" max_batch_size: 4 dynamic_batching {{ preferred_batch_size: 8 }} {io}',
        "pipe": f'platform: "ensemble" {io} ensemble_scheduling {{ step {{ model_name: "library" model_version: -1 '
        'input_map { key: "IN" value: "IN" } output_map { key: "OUT" value: "OUT" } } }',
    }
    for name, config in configs.items():
        (repository / name / "1").mkdir(parents=True)
        (repository / name / "config.pbtxt").write_text(config)
    (repository / "empty" / "0001").mkdir(parents=True)
    (repository / "empty" / "config.pbtxt").write_text(f'backend: "nowhere" {io}')
    return [f"--model-repository={repository}"]


def missing(folder: Path) -> Flags:
    return [f"--model-repository={folder}/nowhere"]


def cache_of_no_name(folder: Path) -> Flags:
    return [
        f"--model-repository={folder}",
        "--cache-config=nowhere,size=1048576",
        f"--cache-directory={folder}",
    ]


def unknown_flag(folder: Path) -> Flags:
    return [f"--model-repository={folder}", "--frobnicate=1"]


def bad_value(folder: Path) -> Flags:
    return [f"--model-repository={folder}", "--http-restricted-api=health,key=value"]


def certificate(folder: Path) -> Flags:
    """The server says that the port is in use, which it is not."""
    repository = folder / "empty"
    repository.mkdir()
    files = [f"--grpc-server-{name}={folder}/{name}.pem" for name in ("cert", "key")]
    return [f"--model-repository={repository}", "--grpc-use-ssl=true", *files]


def no_stub(folder: Path) -> Flags:
    """The stock Python backend without its stub."""
    backends = find_server().backends
    if backends is None or not (backends / "python").is_dir():
        pytest.skip("the installed server has no Python backend")
    shutil.copytree(backends / "python", folder / "backends" / "python")
    (folder / "backends" / "python" / "triton_python_backend_stub").unlink(missing_ok=True)
    model = folder / "repository" / "words"
    (model / "1").mkdir(parents=True)
    (model / "1" / "model.py").write_text("class TritonPythonModel:\n    pass\n")
    (model / "config.pbtxt").write_text('backend: "python"')
    return [f"--model-repository={folder}/repository", f"--backend-directory={folder}/backends"]


def not_a_model(folder: Path) -> Flags:
    """A value that an empty variable of a shell left over."""
    return [f"--model-repository={folder}", "/models"]


def no_value(folder: Path) -> Flags:
    return [f"--model-repository={folder}", "--http-thread-count", "--log-verbose=1"]


def vertex(folder: Path) -> Flags:
    (folder / "repository").mkdir()
    return [f"--model-repository={folder}/repository", "--allow-vertex-ai=true"]


def gpu_limit(folder: Path) -> Flags:
    return [f"--model-repository={folder}", "--model-load-gpu-limit=0:7"]


SDK = {
    "syntax": "def x(:\n" + GOOD,
    "own_error": GOOD
    + "class Broken(Exception):\n    pass\n\n@hookimpl\ndef initialize(instance):\n    raise Broken()\n",
    "raises": GOOD
    + "@hookimpl\ndef initialize(instance):\n    raise FileNotFoundError('no weights at /weights')\n",
    "imports": "import nowhere_to_be_found\n" + GOOD,
}


def sdk_backends(folder: Path) -> Flags:
    for name, plugin in SDK.items():
        project = write_project(folder / "projects", name, plugin)
        build_backend(project, folder / "backends")
        write_model(folder / "repository", name, name, *FP32)
    flags = [f"--model-repository={folder}/repository", f"--backend-directory={folder}/backends"]
    return [*flags, "--model-load-thread-count=1"]  # or their lines are mixed, each time otherwise


@pytest.mark.parametrize(
    ("scene", "found"),
    [
        (too_deep, {"repository-is-a-model", "no-config"}),
        (several, {"config-field", "config-name", "backend-library", "preferred-batch", "no-version"}),
        (missing, {"repository-missing"}),
        (cache_of_no_name, {"cache-missing"}),
        (unknown_flag, {"flag-unknown"}),
        (bad_value, {"flag-restricted"}),
        (certificate, {"grpc-certificate"}),
        (no_stub, {"stub-missing"}),
        (sdk_backends, {"python-raised", "python-module", "python-syntax", "sdk-failed"}),
        (not_a_model, {"flag-argument"}),
        (no_value, {"flag-swallowed"}),
        (vertex, {"service-failed"}),
        (gpu_limit, {"flag-gpu-limit"}),
    ],
    ids=lambda each: getattr(each, "__name__", None),
)
def test_what_the_server_says(tmp_path, scene: Callable[[Path], Flags], found, golden, capsys):
    log = log_of(tmp_path, scene(tmp_path))

    assert run(["explain", str(log)]) == 1
    said = capsys.readouterr().out
    if find_server().version == GOLDENS_OF:  # another one has other words
        text = plain(said, tmp_path)
        golden(f"explain/server/{scene.__name__}.txt", in_order(text) if scene is sdk_backends else text)

    assert run(["explain", str(log), "--json"]) == 1
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert {each["id"] for each in findings if each["severity"] == "error"} == found, log.read_text()


CLASS = "class TritonPythonModel:\n    def execute(self, requests): pass\n"
ENVIRONMENT = (
    'parameters {{ key: "EXECUTION_ENV_PATH" value {{ string_value: "$$TRITON_MODEL_DIRECTORY/{}" }} }}'
)
#: Models of the stock Python backend: what is wrong, what their config has more, and what explains it.
STOCK_MODELS = {
    "imports": ("import nowhere_to_be_found\n" + CLASS, "", "python-module"),
    "syntax": ("def x(:\n", "", "model-py-syntax"),
    "no_class": ("class Other: pass\n", "", "model-py-class"),
    "raises": (
        CLASS + "    def initialize(self, args): raise ValueError('no weights')\n",
        "",
        "python-raised",
    ),
    "leaves": (CLASS + "    def initialize(self, args): raise SystemExit('usage')\n", "", "python-raised"),
    "exits": (CLASS + "    def initialize(self, args): __import__('os')._exit(3)\n", "", "stub-died"),
    "crashes": (
        CLASS + "    def initialize(self, args): __import__('ctypes').string_at(0)\n",
        "",
        "stub-died",
    ),
    "no_environment": (CLASS, ENVIRONMENT.format("gone.tar.gz"), "execution-env"),
    "no_archive": (CLASS, ENVIRONMENT.format("1/model.py"), "execution-env-archive"),
    "fine": (CLASS, "", None),
}


def test_models_of_the_stock_python_backend(tmp_path, stock, capsys):  # noqa: F811
    root, env = stock
    place_backend(STOCK, "identity", tmp_path / "backends", root)
    for name, (source, extra, _) in STOCK_MODELS.items():
        add(tmp_path / "models", name, "python", source, extra)
    flags = [f"--model-repository={tmp_path}/models", f"--backend-directory={tmp_path}/backends"]

    log = log_of(tmp_path, [*flags, "--exit-on-error=false"], 100, env)

    assert run(["explain", str(log), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)["findings"]
    errors = {model: each["id"] for each in found if each["severity"] == "error" for model in each["models"]}
    assert errors == {name: cause for name, (_, _, cause) in STOCK_MODELS.items() if cause}


@pytest.mark.parametrize("service", ["http", "grpc", "metrics"])
def test_a_port_in_use(tmp_path, service, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        log = log_of(tmp_path, [f"--model-repository={tmp_path}", f"--{service}-port={port}"])

    assert run(["explain", str(log)]) == 1

    said = capsys.readouterr().out
    assert "1. error" in said
    assert "2. error" not in said
    assert str(port) in said.splitlines()[2]


TALKATIVE = (
    GOOD
    + """
import logging

@hookimpl
def initialize(instance):
    logging.getLogger("talk").info("the error handler is installed")
    logging.getLogger("talk").warning("no cache yet, falling back")
    print("0 failed, 0 errors")
"""
)


@pytest.fixture(scope="module")
def talkative(tmp_path_factory):
    """Give the flags of a server whose backend says much that is no error."""
    root = tmp_path_factory.mktemp("talkative")
    build_backend(write_project(root / "projects", "talkative", TALKATIVE), root / "backends")
    write_model(root / "repository", "talk", "talkative", *FP32)
    return [f"--model-repository={root}/repository", f"--backend-directory={root}/backends"]


@pytest.mark.parametrize(
    "flags", [[], ["--log-verbose=1"], ["--log-verbose=2", "--log-format=ISO8601"]], ids=len
)
def test_a_server_that_runs_has_nothing_wrong(tmp_path, talkative, flags, capsys):
    log = log_of(tmp_path, [*talkative, *flags])

    assert "| READY" in log.read_text()
    assert run(["explain", str(log)]) == 0
    said = capsys.readouterr().out
    assert "nothing is wrong" in said
    assert "error" not in said.replace("errors", "")


SIGNALS = {
    "segv": "__import__('ctypes').string_at(0)",
    "abort": "__import__('os').abort()",
    "kill": "__import__('os').kill(__import__('os').getpid(), 9)",
}


@pytest.mark.parametrize("signal", SIGNALS)
def test_a_server_that_was_ended_while_it_loaded(tmp_path, signal, capsys):
    """2.51 says nothing then."""
    plugin = f"{GOOD}@hookimpl\ndef initialize(instance):\n    {SIGNALS[signal]}\n"
    build_backend(write_project(tmp_path / "projects", "ends", plugin), tmp_path / "backends")
    write_model(tmp_path / "repository", "model", "ends", *FP32)
    flags = [f"--model-repository={tmp_path}/repository", f"--backend-directory={tmp_path}/backends"]

    assert run(["explain", str(log_of(tmp_path, flags))]) == 1

    said = capsys.readouterr().out
    assert "the load of 'model' version 1 began and did not end" in said
    assert "139" in said
