"""Have a running server take a change up.

Triton reloads a model when its version's folder is newer than before, so that is touched where the change
lies elsewhere; the loaded model answers until the new one is ready, and on if the new one fails.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from triton_backend_sdk.tools.endpoints import Endpoint, GrpcEndpoint
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.project import Project
from triton_backend_sdk.tools.server import TritonServer
from triton_backend_sdk.tools.sources import Sources

_BACKEND = re.compile(r'^\s*backend\s*:\s*"([^"]*)"', re.MULTILINE)


@dataclass(frozen=True)
class Reload:
    """What came of a change, for one model or a backend."""

    name: str
    seconds: float
    #: load, unload or build.
    action: str = "load"
    #: Why the change was not taken up; then the old one goes on.
    error: str | None = None


def watched(sources: Sources) -> list[Path]:
    """Give what to watch: the code of the projects, and the models."""
    code = [place for project in sources.projects for place in (project.package, _pyproject(project))]
    return [*code, *sources.folders]


class Reloader:
    """Brings changed files into a running server, which must be in explicit mode."""

    def __init__(self, server: TritonServer, sources: Sources, build: Callable[[], object]) -> None:
        self._server = server
        self._sources = sources
        self._build = build
        self._control: Endpoint | None = None
        #: What there was at the last look; the server's index forgets a model that failed.
        self._names = set(self._models())

    def take_up(self, changed: set[Path]) -> Iterator[Reload]:
        """Build what changed, and load its models anew; one result after the other, as they come."""
        begin = time.monotonic()
        projects = [project for project in self._sources.projects if _touches(project, changed)]
        if projects:
            try:
                self._build()
            except HandledError as error:
                names = ", ".join(project.name for project in projects)
                yield Reload(names, time.monotonic() - begin, "build", error.message)
                return
        _forget_bytecode(changed)
        models, gone = self._models(), self._names
        self._names = set(models)
        gone -= self._names
        for name in sorted(self._concerned(changed, {project.name for project in projects}, models, gone)):
            begin = time.monotonic()
            if name in gone:
                yield Reload(name, 0.0, "unload", self._endpoint().unload(name))
                continue
            failed = _touch(models[name]) or self._endpoint().load(name)
            yield Reload(name, time.monotonic() - begin, error=failed)

    def _endpoint(self) -> Endpoint:
        """Load over gRPC where that can be.

        A load keeps the HTTP thread that took it until it is done, and with it the connections of other
        clients that happen to be that thread's: their requests would wait for the new model.
        """
        if self._control is None:
            self._control = self._server.endpoint
            options = self._server.options
            if options.allow_grpc and not (options.grpc_use_ssl or options.grpc_use_ssl_mutual):
                with contextlib.suppress(HandledError):  # there is no tritonclient
                    self._control = GrpcEndpoint(self._server.grpc_url, options.grpc_restricted_protocol)
        return self._control

    def _models(self) -> dict[str, Path]:
        """Give the folders of all models."""
        folders = (folder for root in self._sources.folders for folder in root.resolve().iterdir())
        return {folder.name: folder for folder in folders if folder.is_dir() and folder.name[0] != "."}

    def _concerned(
        self, changed: set[Path], backends: set[str], models: dict[str, Path], gone: set[str]
    ) -> set[str]:
        found = {name for name, folder in models.items() if _backend_of(folder) in backends}
        for root in (root.resolve() for root in self._sources.folders):
            inside = {
                path.relative_to(root).parts for path in changed if path.is_relative_to(root) and path != root
            }
            if any(len(parts) == 1 and (root / parts[0]).is_file() for parts in inside):
                found |= set(models)  # what several may import
            found |= {parts[0] for parts in inside if parts[0] in models.keys() | gone}
        wanted = {status.name for status in self._server.models() if status.state}
        wanted |= {*(self._server.options.load_model or ())}
        return found if "*" in wanted else found & (wanted | gone)


def _touches(project: Project, changed: set[Path]) -> bool:
    package = project.package.resolve()
    return any(path.is_relative_to(package) or path == _pyproject(project).resolve() for path in changed)


def _pyproject(project: Project) -> Path:
    return project.root / "pyproject.toml"


def _backend_of(model: Path) -> str | None:
    try:
        found = _BACKEND.search((model / "config.pbtxt").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return None
    return found[1] if found else None


def _touch(model: Path) -> str | None:
    for version in model.iterdir():
        if version.name.isdigit() and version.is_dir():
            try:
                os.utime(version)
            except OSError as error:
                return f"cannot touch {version}, by which tritonserver sees a change: {error.strerror}"
    return None


def _forget_bytecode(changed: Iterable[Path]) -> None:
    """Remove what Python would take for fresh: it looks at whole seconds and at the size."""
    for path in changed:
        if path.suffix == ".py":
            with contextlib.suppress(OSError):
                Path(importlib.util.cache_from_source(str(path))).unlink()
