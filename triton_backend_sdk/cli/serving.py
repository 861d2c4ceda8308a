"""What ``tbsdk serve`` does: build, start, show, watch, stop."""

from __future__ import annotations

import contextlib
import functools
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import NoReturn

from rich.markup import escape
from rich.text import Text

from triton_backend_sdk.cli import console
from triton_backend_sdk.cli.live_view import STYLES, View
from triton_backend_sdk.tools.activity import MEDIANS
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.examples import curl_line, infer_line
from triton_backend_sdk.tools.metadata import ModelMetadata
from triton_backend_sdk.tools.reload import Reload, Reloader, watched
from triton_backend_sdk.tools.server import ModelStatus, ServerOptions, TritonServer, find_server
from triton_backend_sdk.tools.sources import find_sources
from triton_backend_sdk.tools.watch import FileWatch

#: What Triton's clients try first; taken where they are free.
_USUAL_PORTS = {"http": 8000, "grpc": 8001, "metrics": 8002}
_TICK_S = 0.05
_GONE_S = 3.0
#: Of more models that are ready only the number is told at the start, and how these first are called.
_MANY = 20
_CALLS = 3
_WATCH_EXIT_S = 3


class Serving:
    """One run of the command."""

    def __init__(
        self,
        paths: Sequence[str],
        options: ServerOptions,
        *,
        server: Path | None,
        build_dir: Path | None,
        compat: bool,
        watch: bool,
        plain: bool,
    ) -> None:
        self._sources = find_sources(paths, options.model_repository or (), compat)
        self._installation = find_server(server)
        self._build_dir = build_dir
        self._watch = watch
        self._live = (
            not plain
            and console.err.is_terminal
            and console.out.is_terminal
            and not console.err.is_dumb_terminal  # the cursor stays where it is there
        )
        self._options = self._completed(options)

    def _completed(self, options: ServerOptions) -> ServerOptions:
        options = options.replaced(model_repository=self._sources.repositories)
        if self._watch:
            if (options.model_control_mode or "explicit").lower() != "explicit":
                raise HandledError(
                    f"--watch and --model-control-mode={options.model_control_mode} rule each other out",
                    "leave one of the two out",
                )
            everything = {"load_model": ["*"]} if options.model_control_mode is None else {}
            # A load that failed is a model that tritonserver waits for when it stops, in vain.
            quick = {"exit_on_error": False, "exit_timeout_secs": _WATCH_EXIT_S}
            options = options.with_defaults(**everything, **quick).replaced(model_control_mode="explicit")
        if self._live and options.allow_metrics is not False and "" not in (options.metrics_config or {}):
            options = options.replaced(metrics_config={**MEDIANS, **(options.metrics_config or {})})
        return options

    def run(self) -> None:
        """Serve until Ctrl-C."""
        if self._sources.built:
            self._server(None).check()  # before the build, which takes longer
        with _stop_on_sigterm(), self._out() as folder:
            out = Path(folder)
            with console.err.status("building") as status:
                others = self._options.backend_directory or self._installation.backends
                build = functools.partial(
                    self._sources.build, out, Path(others) if others else None, status.update
                )
                backends = build()
            built = f"built {', '.join(self._sources.built)}, " if self._sources.built else ""
            version = self._installation.version or ""
            console.say(f"{built}starting tritonserver {version} ({self._installation.origin})")
            self._serve(self._server(backends), build)

    def _server(self, backends: Path | None) -> TritonServer:
        return TritonServer(
            (),
            self._options,
            server=self._installation,
            backend_directory=backends,
            on_line=_log,
            prefer=_USUAL_PORTS,
        )

    def _out(self) -> contextlib.AbstractContextManager[Path | str]:
        home = self._build_dir or self._sources.home()
        return TemporaryDirectory(prefix="tbsdk-serve-") if home is None else contextlib.nullcontext(home)

    def _serve(self, triton: TritonServer, build: Callable[[], object]) -> None:
        # Before the start: what is edited while the server starts is taken up, too.
        files = FileWatch(watched(self._sources)) if self._watch else None
        reloader = Reloader(triton, self._sources, build) if self._watch else None
        triton.start()
        try:
            with contextlib.suppress(KeyboardInterrupt):
                self._run_on(triton, files, reloader)
            # Only here: an exception keeps what it interrupted, and the server waits for its connections.
            _stop(triton)
        finally:
            triton.kill()

    def _run_on(self, triton: TritonServer, files: FileWatch | None, reloader: Reloader | None) -> NoReturn:
        with _end_explains(triton):
            models = triton.wait_ready(timeout=None)
            _show(triton, models, watch=self._watch)
            with View(triton, models, live=self._live) as view:
                while triton.returncode is None:
                    view.look()
                    if files and reloader:
                        _take_up(files, reloader, triton, view)
                    time.sleep(_TICK_S)
        raise triton.ended()


def _take_up(files: FileWatch, reloader: Reloader, triton: TritonServer, view: View) -> None:
    changed = files.changes()
    if not changed:
        return
    for result in reloader.take_up(changed, view.look):
        _tell(result, triton)
    for path in files.loaded():
        console.say(f"{path} changes whenever its model is loaded: it is watched no more")


def _tell(result: Reload, triton: TritonServer) -> None:
    old = result.error is not None and (result.action == "build" or _answers(triton, result.name))
    for line in reload_lines(result, old_answers=old):
        console.err.print(line, soft_wrap=True)


def reload_lines(result: Reload, *, old_answers: bool) -> list[Text]:
    """Say what came of a change."""
    if result.error is None:
        verb = {"load": "loaded", "reload": "reloaded", "unload": "unloaded"}[result.action]
        return [Text(f"{result.name}: {verb} in {result.seconds:.2f} s")]
    old = "; the old one goes on answering" if old_answers else ""
    evidence = [*result.error.splitlines(), *([f"at {result.at}"] if result.at else [])]
    return [
        Text(f"{result.name}: the change cannot be taken up{old}", "bold red"),
        *(Text(f"  {line}") for line in evidence),
    ]


def _answers(triton: TritonServer, model: str) -> bool:
    with contextlib.suppress(OSError):
        return any(status.name == model and status.state == "READY" for status in triton.models())
    return False


@contextlib.contextmanager
def _end_explains(triton: TritonServer) -> Iterator[None]:
    """Let a request that failed because the server died pass: its end is the better error."""
    try:
        yield
    except (OSError, HTTPException):
        deadline = time.monotonic() + _GONE_S  # the connection breaks before the process is gone
        while triton.returncode is None:
            if time.monotonic() > deadline:
                raise
            time.sleep(_TICK_S)


def _stop(triton: TritonServer) -> None:
    try:
        console.say("stopping; Ctrl-C again ends it at once")
        status = triton.stop()
    except KeyboardInterrupt:
        status = triton.kill()
    ends = {0: "stopped", -signal.SIGTERM: "stopped", -signal.SIGKILL: "killed"}
    console.say(ends.get(status, f"stopped with status {status}"))


@contextlib.contextmanager
def _stop_on_sigterm() -> Iterator[None]:
    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _log(line: str) -> None:
    console.err.print(Text(line, style="dim"), soft_wrap=True)


def _show(triton: TritonServer, models: Sequence[ModelStatus], *, watch: bool) -> None:
    out = console.out
    out.print()
    after = "an edit is taken up at once" if watch else "after an edit, start it again, or use --watch"
    out.print(f"[bold green]ready[/]; Ctrl-C stops; {after}")
    for name, url in _urls(triton).items():
        console.copyable(f"  {name:<8} {url}")
    if not models:
        places = ", ".join(map(str, triton.options.model_repository or ()))
        out.print(f"  [yellow]no models[/]: there are none in {escape(places)}", soft_wrap=True)
    ready = [model for model in models if model.state == "READY"]
    many = len(ready) > _MANY
    if many:
        out.print(f"  models   {len(ready)} are [green]READY[/]")
    for model in models:
        if many and model.state == "READY":
            continue
        state = Text(model.state or "not loaded", STYLES.get(model.state, "red"))
        out.print(Text(f"  model    {model.name} version {model.version or '-'}  ") + state, soft_wrap=True)
        if model.reason:
            console.copyable(f"           {model.reason}")
    for model in ready[:_CALLS] if triton.options.allow_http else ():
        _show_calls(triton, model)


def _urls(triton: TritonServer) -> dict[str, str]:
    options, urls = triton.options, {}
    if options.allow_http:
        urls["http"] = f"http://{triton.http_url}"
    if options.allow_grpc:
        urls["grpc"] = triton.grpc_url
    if options.allow_metrics:
        urls["metrics"] = triton.metrics_url
    return urls


def _show_calls(triton: TritonServer, status: ModelStatus) -> None:
    path = f"/v2/models/{status.name}/versions/{status.version}"
    metadata = ModelMetadata.of(triton.request(path), triton.request(f"{path}/config"))
    grpc = metadata.decoupled and triton.options.allow_grpc
    protocol, url = ("grpc", triton.grpc_url) if grpc else ("http", triton.http_url)
    usual = url == f"127.0.0.1:{_USUAL_PORTS[protocol]}"
    console.out.print()
    console.copyable(infer_line(metadata, None if usual else url))
    curl = curl_line(metadata, triton.http_url)
    if curl:
        console.copyable(curl)
