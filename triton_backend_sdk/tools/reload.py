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
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from triton_backend_sdk.tools.endpoints import Endpoint, GrpcEndpoint
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.explain.explanation import explain
from triton_backend_sdk.tools.explain.records import read
from triton_backend_sdk.tools.project import Project
from triton_backend_sdk.tools.server import ModelStatus, TritonServer
from triton_backend_sdk.tools.sources import Sources

#: As many models as tritonserver loads at once, unless it is told otherwise.
_AT_ONCE = 4
_TICK_S = 0.05
#: The server answers a little before its log is read.
_LOG_S = 1.0
_FRAME = re.compile(r'File \\?"(.+?)\\?", line (\d+)')
_IN_FILE = re.compile(r"\((\d+)\)")
#: What the server answers where it cannot read a config; the log says more.
_CONFIG_ERROR = "failed to load '{}', failed to poll from model repository"
_BACKEND = re.compile(r'^\s*backend\s*:\s*"([^"]*)"', re.MULTILINE)


@dataclass(frozen=True)
class Reload:
    """What came of a change, for one model or a backend."""

    name: str
    seconds: float
    #: load, reload, unload or build.
    action: str
    #: Why the change was not taken up; then the old one goes on.
    error: str | None = None
    #: Where in the code, as the server's log tells it.
    at: str | None = None


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

    def take_up(self, changed: set[Path], meanwhile: Callable[[], None]) -> Iterator[Reload]:
        """Build what changed, and load its models anew; one result after the other, as they come.

        :param meanwhile: called again and again while models are loaded.
        """
        begin = time.monotonic()
        if lost := next((root for root in self._sources.folders if not root.is_dir()), None):
            # The server answers no question about its models now. When the folder is back, all in it is new.
            yield Reload(str(lost), 0.0, "build", "there is no such folder now")
            return
        projects = [project for project in self._sources.projects if _touches(project, changed)]
        if projects:
            try:
                self._build()
            except HandledError as error:
                backends = ", ".join(project.name for project in projects)
                yield Reload(backends, time.monotonic() - begin, "build", error.message)
                projects = []
        _forget_bytecode(changed)
        models, gone = self._models(), self._names
        self._names = set(models)
        gone -= self._names
        before = self._server.models()
        names = self._concerned(changed, {project.name for project in projects}, models, gone, before)
        answering = {status.name for status in before if status.state == "READY"}
        endpoint = self._endpoint()
        # Together: none shall wait for another that takes long.
        pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="tbsdk-load")
        try:
            pending = {
                pool.submit(self._unload, endpoint, name)
                if name in gone
                else pool.submit(self._load, endpoint, name, models[name], name in answering)
                for name in sorted(names)
            }
            while pending:
                done, pending = wait(pending, _TICK_S, FIRST_COMPLETED)
                for future in done:
                    yield future.result()
                meanwhile()
        finally:
            # The server may be about to be stopped, which ends a load that goes on.
            pool.shutdown(wait=False, cancel_futures=True)

    def _unload(self, endpoint: Endpoint, name: str) -> Reload:
        return Reload(name, 0.0, "unload", endpoint.unload(name))

    def _load(self, endpoint: Endpoint, name: str, model: Path, again: bool) -> Reload:
        begin, before = time.monotonic(), self._server.log_lines()[-1:]
        action = "reload" if again else "load"
        error = _touch(model)
        if error is not None:
            return Reload(name, 0.0, action, error)
        error = endpoint.load(name)
        seconds = time.monotonic() - begin
        if error is None or self._server.returncode is not None:  # its end tells more
            return Reload(name, seconds, action, error)
        return Reload(name, seconds, action, *self._reason(name, error, before))

    def _reason(self, name: str, error: str, before: Sequence[str]) -> tuple[str, str | None]:
        """Give why a load failed and where in the code, from the answer and from the log since then."""
        deadline = time.monotonic() + _LOG_S
        failed = (f"failed to load '{name}' version", f"'{name}': ")
        lines: list[str] = []
        while not any(text in line for line in lines for text in failed) and time.monotonic() < deadline:
            time.sleep(_TICK_S / 5)
            lines = _since(self._server.log_lines(), before)
        found = explain(read(lines)).findings
        own = [finding for finding in found if name in finding.models] or found
        at = next((finding.at for finding in own if finding.at), None) or _frame(lines)
        if at is None and error == _CONFIG_ERROR.format(name) and own:
            return own[0].what, None
        place = _IN_FILE.sub(r":\1", at, count=1) if at else None  # as editors and terminals open it
        return error.removeprefix(f"load failed for model '{name}': "), place

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
        roots = (root.resolve() for root in self._sources.folders if root.is_dir())
        folders = (folder for root in roots for folder in root.iterdir())
        return {folder.name: folder for folder in folders if folder.is_dir() and folder.name[0] != "."}

    def _concerned(
        self,
        changed: set[Path],
        backends: set[str],
        models: dict[str, Path],
        gone: set[str],
        before: Sequence[ModelStatus],
    ) -> set[str]:
        found = {name for name, folder in models.items() if _backend_of(folder) in backends}
        for root in (root.resolve() for root in self._sources.folders):
            inside = {
                path.relative_to(root).parts for path in changed if path.is_relative_to(root) and path != root
            }
            if any(len(parts) == 1 and (root / parts[0]).is_file() for parts in inside):
                found |= set(models)  # what several may import
            found |= {parts[0] for parts in inside if parts[0] in models.keys() | gone}
        wanted = {status.name for status in before if status.state}
        wanted |= {*(self._server.options.load_model or ())}
        return found if "*" in wanted else found & (wanted | gone)


def _since(lines: Sequence[str], before: Sequence[str]) -> list[str]:
    """Give the lines after one that was the last; it is itself looked for, as texts repeat."""
    for number in range(len(lines) - 1, -1, -1):
        if before and lines[number] is before[0]:
            return list(lines[number + 1 :])
    return list(lines)


def _frame(lines: Sequence[str]) -> str | None:
    """Give the place of a syntax error, which has no traceback where Triton's own caller is the importer."""
    frames = _FRAME.findall("\n".join(lines))
    return "{}:{}".format(*frames[-1]) if frames else None


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
