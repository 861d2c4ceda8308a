"""Two real servers that serve the same models: the stock Python backend of the wheel, and ours in its place."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import tritonclient.grpc as triton

from benchmarks import parts
from triton_backend_sdk.tools.build import build_backend
from triton_backend_sdk.tools.compat import compat_backend
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.installation import find_server
from triton_backend_sdk.tools.server import TritonServer
from triton_backend_sdk.tools.server_options.options import ServerOptions

MODELS = Path(__file__).parent / "models"
#: Lies beside every model.py: what most of the models here are made with.
PROBES = Path(__file__).parent / "probes.py"
#: What a model has whose folder says nothing: names of probes go in, what they found comes out.
PROBE_CONFIG = """
backend: "python"
input { name: "IN" data_type: TYPE_STRING dims: [ -1 ] }
output { name: "OUT" data_type: TYPE_STRING dims: [ -1 ] }
"""
LOAD_LIMIT_S = 60.0
#: In the log of Triton: level, date, time and process id, which differ by nature.
_LOG_HEAD = re.compile(r"^([A-Z])\d{4} \d\d:\d\d:\d\d\.\d+ \d+ ")
_ADDRESS = re.compile(r"\b0x[0-9a-f]{6,}\b")


@dataclass
class Side:
    """One of the two servers."""

    name: str
    server: TritonServer
    repository: Path
    client: triton.InferenceServerClient
    log: list[str]
    #: Name to the error that loading ended with, "" without one.
    loads: dict[str, str] = field(default_factory=dict)
    _locks: dict[str, threading.Lock] = field(default_factory=dict)

    def load(self, model: str, config: str | None = None) -> str:
        """Load a model, anew if it is loaded, and give the error's text or ""."""
        try:
            self.client.load_model(model, config=config, client_timeout=LOAD_LIMIT_S)
            return ""
        except triton.InferenceServerException as error:
            return self.plain(error.message())

    def ensure(self, model: str) -> str:
        """Load a model unless that was done, and give the error's text or ""."""
        with self._locks.setdefault(model, threading.Lock()):
            if model not in self.loads:
                write_model(self.repository, model)
                self.loads[model] = self.load(model)
        return self.loads[model]

    def unload(self, model: str, limit: float = 20.0) -> str:
        """Unload a model, wait until it is gone, and give its last state."""
        self.client.unload_model(model, client_timeout=limit)
        deadline = time.monotonic() + limit
        while (state := self.state(model)) not in (["UNAVAILABLE", "unloaded"], []):
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
        return " ".join(state)

    def state(self, model: str) -> list[str]:
        """Give the state and the reason that the repository index has for a model."""
        index = self.client.get_model_repository_index(client_timeout=LOAD_LIMIT_S)
        rows = [row for row in index.models if row.name == model and row.state]
        return [self.plain(text) for row in rows[:1] for text in (row.state, row.reason)]

    def plain(self, text: str) -> str:
        """Give a text without what differs between two runs: the repository's path, addresses of objects."""
        return _ADDRESS.sub("0x0", text.replace(str(self.repository), "REPOSITORY"))

    def logged(self, tag: str) -> list[str]:
        """Give the lines of the log with a text in it, without time and process."""
        return [self.plain(_LOG_HEAD.sub(r"\1 ", line)) for line in list(self.log) if tag in line]


@dataclass
class Pair:
    stock: Side
    ours: Side
    root: Path
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(2))

    @contextlib.contextmanager
    def another_stock(self) -> Iterator[Side]:
        """Start another stock server, as that of the pair may have died."""
        backends, python = self.root / "backends" / "stock", parts.stock_python()
        with _side(f"stock{next(self._numbers)}", self.root, backends, python) as side:
            yield side


def write_model(repository: Path, model: str) -> None:
    """Copy a model's folder: files without a version's folder belong to version 1."""
    source, target = MODELS / model, repository / model
    if target.exists():
        return
    version = target if (source / "1").is_dir() else target / "1"
    shutil.copytree(source, version, ignore=shutil.ignore_patterns("__pycache__"))
    if version != target:
        if (version / "config.pbtxt").exists():
            (version / "config.pbtxt").rename(target / "config.pbtxt")
        else:
            (target / "config.pbtxt").write_text(PROBE_CONFIG)
        shutil.copy2(PROBES, version)


@contextlib.contextmanager
def running_pair(root: Path) -> Iterator[Pair]:
    """Start both servers.

    :raises HandledError: a part is missing; says which.
    """
    python = parts.stock_python()
    stock = _place_stock(root / "backends" / "stock")
    ours = _build_ours(root)
    with (
        _side("stock", root, stock, python) as first,
        _side("ours", root, ours, None) as second,
    ):
        yield Pair(first, second, root)


@contextlib.contextmanager
def _side(name: str, root: Path, backends: Path, python: Path | None) -> Iterator[Side]:
    repository = root / name
    repository.mkdir()
    env: dict[str, str] = {}
    options = ServerOptions(model_control_mode="explicit", exit_timeout_secs=3, log_verbose=0)
    if python is not None:
        # The stub belongs to the environment of the first python3 on PATH.
        env["PATH"] = f"{python / 'bin'}:{os.environ.get('PATH', '')}"
        lib = find_server().binary.parent.parent / "lib"
        libraries = (str(lib), str(parts.libpython_directory()), os.environ.get("LD_LIBRARY_PATH", ""))
        env["LD_LIBRARY_PATH"] = ":".join(filter(None, libraries))
        options.backend_config = {"python": {"shm-default-byte-size": 1048576}}
    log: list[str] = []
    server = TritonServer(repository, options, backend_directory=backends, env=env, on_line=log.append)
    server.start()
    try:
        server.wait_ready()
        channel = [("grpc.enable_http_proxy", 0), ("grpc.max_receive_message_length", -1)]
        with triton.InferenceServerClient(server.grpc_url, channel_args=channel) as client:
            yield Side(name, server, repository, client, log)
    finally:
        # A model of the stock backend that hangs never ends by itself: no test waits for it.
        with contextlib.suppress(HandledError):
            server.stop(timeout=8)


def _place_stock(folder: Path) -> Path:
    server = find_server()
    if server.backends is None or not (server.backends / "python" / "libtriton_python.so").is_file():
        raise HandledError("the server has no Python backend", "tbsdk server install")
    shutil.copytree(server.backends / "python", folder / "python")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = "triton_python_backend_stub"
    if not (folder / "python" / stub).is_file():
        stubs = server.backends.resolve().parent / "python_backend_stubs" / version
        if not (stubs / stub).is_file():
            raise HandledError(f"the server has no stub of its Python backend for Python {version}")
        shutil.copy2(stubs / stub, folder / "python")
    return folder


def _build_ours(root: Path) -> Path:
    build_backend(compat_backend("python"), root / "backends" / "ours")
    return root / "backends" / "ours"
