"""Lay out the backends under measurement, their models, and the environment that all of them run in."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks import parts
from benchmarks.cc import compile_client, compile_floor
from benchmarks.ground import Ground
from benchmarks.rows import COMPAT, FLOOR, STOCK, Model, Peer, models
from triton_backend_sdk.tools.build import build_backend
from triton_backend_sdk.tools.compat import compat_backend
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.project import Project

HERE = Path(__file__).parent


def lay_out(root: Path, server: Path, peers: Sequence[Peer]) -> Ground:
    """Fill the folder.

    :param server: the fetched server, as install_server gives it.
    :raises HandledError: a part cannot be fetched or built.
    """
    perf_analyzer = parts.perf_analyzer(server)
    libraries = (perf_analyzer.parent / "lib", server / "lib", parts.libpython_directory())
    env = {
        **os.environ,
        # The stub of the stock backend belongs to the environment of the first python3 on PATH.
        "PATH": f"{parts.stock_python() / 'bin'}:{os.environ.get('PATH', '')}",
        "LD_LIBRARY_PATH": ":".join(map(str, libraries)),
    }
    ground = Ground(root, perf_analyzer, env)
    (root / "lib").symlink_to(server / "lib")
    compile_client(ground.client, server)
    for peer in peers:
        own, theirs = models(peer, own_client=True), models(peer, own_client=False)
        write_models(peer, ground.client_repository(peer), own)
        write_models(peer, ground.repository(peer), theirs)
        for work in {model.work for model in (*own, *theirs)}:
            place_backend(peer, work, ground.backends, server)
    return ground


def place_backend(peer: Peer, work: str, backends: Path, server: Path) -> None:
    """Build or copy a peer's backend for a kind of work, unless it is there."""
    target = backends / peer.backend(work)
    if target.exists():
        return  # what runs a model.py does every work
    if peer is STOCK:
        _place_stock(target, server)
    elif peer is FLOOR:
        compile_floor(work, target, server)
    elif peer is COMPAT:
        build_backend(compat_backend(target.name), backends)
    else:
        build_backend(Project.find(HERE / "plugins" / target.name), backends)


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


def write_models(peer: Peer, repository: Path, chosen: Iterable[Model]) -> None:
    """Write a peer's models into a model repository."""
    for model in chosen:
        version = repository / model.name / "1"
        version.mkdir(parents=True)
        (version.parent / "config.pbtxt").write_text(model.config(peer), encoding="utf-8")
        if peer in (STOCK, COMPAT):
            shutil.copy2(HERE / "stock" / f"{model.work}.py", version / "model.py")
