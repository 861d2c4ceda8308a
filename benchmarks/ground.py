"""Lay out the backends under measurement, their models, and the environment that all of them run in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks import parts
from benchmarks.rows import BATCHED, FLOOR, GRPC, MODELS, OURS, STOCK, Peer, Row
from triton_backend_sdk.tools.build import build_backend
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.project import Project

HERE = Path(__file__).parent
_COMPILE_LIMIT_S = 120.0


@dataclass(frozen=True)
class Ground:
    """A folder with ``lib`` and ``backends`` as in /opt/tritonserver, and a repository per peer."""

    root: Path
    perf_analyzer: Path
    env: dict[str, str]

    @property
    def backends(self) -> Path:
        """Give the backend directory."""
        return self.root / "backends"

    def repository(self, peer: Peer) -> Path:
        """Give the model repository of a peer."""
        return self.root / "models" / peer.key

    def command(self, row: Row, peer: Peer, grpc_url: str | None) -> list[str]:
        """Give the perf_analyzer command of a cell, without how long and where to report."""
        command = [str(self.perf_analyzer), "-m", row.model.name, *row.arguments]
        command += ["--concurrency-range", "64" if row.model.max_batch_size else "1"]
        if row.pinned:
            command = [shutil.which("taskset") or "taskset", "--cpu-list", str(pinned_cpu()), *command]
        if row.service == GRPC:
            return [*command, "-i", "grpc", "-u", str(grpc_url)]
        in_process = ["--service-kind", "triton_c_api", "--triton-server-directory", str(self.root)]
        return [*command, *in_process, "--model-repository", str(self.repository(peer))]


def pinned_cpu() -> int:
    """Give the core that pinned rows run on: the last, since the first takes most of the interrupts."""
    return max(os.sched_getaffinity(0))


def lay_out(root: Path, server: Path, peers: tuple[Peer, ...]) -> Ground:
    """Fill the folder.

    :param server: the fetched server, as install_server gives it.
    :raises HandledError: a part cannot be fetched or built.
    """
    perf_analyzer = parts.perf_analyzer(server)
    stock_python = parts.stock_python()
    (root / "lib").symlink_to(server / "lib")
    for peer in peers:
        _place_backend(peer, root / "backends", server)
        _write_models(peer, root / "models" / peer.key)
    libraries = (perf_analyzer.parent / "lib", server / "lib", parts.libpython_directory())
    env = {
        **os.environ,
        # The stub of the stock backend belongs to the environment of the first python3 on PATH.
        "PATH": f"{stock_python / 'bin'}:{os.environ.get('PATH', '')}",
        "LD_LIBRARY_PATH": ":".join(map(str, libraries)),
    }
    return Ground(root, perf_analyzer, env)


def _place_backend(peer: Peer, backends: Path, server: Path) -> None:
    target = backends / peer.backend
    if peer is STOCK:
        _place_stock(target, server)
    elif peer is FLOOR:
        _compile_floor(target, server)
    elif peer in (OURS, BATCHED):
        build_backend(Project.find(HERE / peer.backend), backends)


def _place_stock(target: Path, server: Path) -> None:
    shutil.copytree(server / "backends" / "python", target)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stubs = (server / "backends").resolve().parent / "python_backend_stubs"
    stub = stubs / version / "triton_python_backend_stub"
    if not stub.is_file():
        raise HandledError(
            f"the server has no stub of the stock Python backend for Python {version}: looked for {stub}",
            "run the benchmark with another Python",
        )
    shutil.copy2(stub, target)


def _compile_floor(target: Path, server: Path) -> None:
    target.mkdir(parents=True)
    compiler = os.environ.get("CC", "cc")
    # The file itself, not a name like libtritonserver.so: the library is then needed by its soname.
    library = next((server / "lib").glob("libtritonserver-*.so"))
    command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(target / "libtriton_floor.so")]
    try:
        done = subprocess.run(
            [*command, str(HERE / "floor" / "floor.c"), str(library)],
            capture_output=True,
            text=True,
            timeout=_COMPILE_LIMIT_S,
            check=False,
        )
    except FileNotFoundError:
        raise HandledError(f"no C compiler {compiler}", "apt-get install gcc libc6-dev") from None
    if done.returncode:
        raise HandledError("compiling the floor failed", details=done.stderr.splitlines()[-8:])


def _write_models(peer: Peer, repository: Path) -> None:
    for model in MODELS:
        version = repository / model.name / "1"
        version.mkdir(parents=True)
        (version.parent / "config.pbtxt").write_text(model.config(peer.backend), encoding="utf-8")
        if peer is STOCK:
            shutil.copy2(HERE / "models" / "stock_model.py", version / "model.py")
