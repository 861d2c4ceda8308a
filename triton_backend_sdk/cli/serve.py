"""``tbsdk serve``: build a project and run the real tritonserver on it until Ctrl-C."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

import click
from rich.text import Text

from triton_backend_sdk.cli import console
from triton_backend_sdk.cli.pass_through import PassThrough
from triton_backend_sdk.tools.build import build_backend
from triton_backend_sdk.tools.compat import NAME, build_compat
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.examples import curl_line, infer_line
from triton_backend_sdk.tools.metadata import ModelMetadata
from triton_backend_sdk.tools.ports import is_free
from triton_backend_sdk.tools.project import Project
from triton_backend_sdk.tools.server import ModelStatus, TritonServer, find_server

#: What Triton's clients try first; taken where they are free.
_USUAL_PORTS = {"http": 8000, "grpc": 8001, "metrics": 8002}


@click.command(
    cls=PassThrough,
    epilog="""\b
Examples:
  tbsdk serve
  tbsdk serve path/to/mybackend --http-port 9000
  tbsdk serve -- --log-verbose=1 --model-control-mode=explicit --load-model=mybackend
  tbsdk serve -- --exit-on-error=false    models that fail do not stop the others
  tbsdk serve --compat path/to/models     models of the stock Python backend, in process
""",
)
@click.argument("project", type=click.Path(path_type=Path), default=".")
@click.option(
    "--server", type=click.Path(path_type=Path), help="A tritonserver, or the folder above its bin."
)
@click.option(
    "-o",
    "--output",
    "build_dir",
    type=click.Path(path_type=Path),
    help="Where to build.  [default: PROJECT/build/serve; with --compat a passing folder]",
)
@click.option(
    "--compat",
    is_flag=True,
    help="PROJECT is a model repository of the stock Python backend, served as it is.",
)
@click.option("--http-port", type=int, help="[default: 8000, or a free one where that is taken]")
@click.option("--grpc-port", type=int, help="[default: 8001, likewise]")
@click.option("--metrics-port", type=int, help="[default: 8002, likewise]")
@click.pass_obj
def command(
    flags: Sequence[str],
    *,
    project: Path,
    server: Path | None,
    build_dir: Path | None,
    compat: bool,
    http_port: int | None,
    grpc_port: int | None,
    metrics_port: int | None,
) -> None:
    """Build a backend and run the real tritonserver on it.

    The server listens on 127.0.0.1, serves the project's model_repository and runs the project's own files,
    not a copy; start it again after an edit, since a loaded model keeps its code. Ctrl-C stops it; a second
    Ctrl-C does not wait for requests in flight.

    With --compat there is no project: models of the stock Python backend run as they are, but in the
    server's process; those of the server's other backends run beside them.
    """
    found = None if compat else _find(project)
    repository = _check_models(project) if found is None else _check_repository(found)
    installation = find_server(server)
    with _stop_on_sigterm(), _out(found, build_dir) as folder:
        out = Path(folder)
        with console.err.status("building") as status:
            if found is None:
                build_compat(out, installation.backends, progress=status.update)
            else:
                build_backend(found, out, link=True, progress=status.update)
        built = NAME if found is None else found.name
        console.say(
            f"built {built}, starting tritonserver {installation.version or ''} ({installation.origin})"
        )
        triton = TritonServer(
            repository,
            backend_directory=out,
            server=installation,
            http_port=_port("http", http_port),
            grpc_port=_port("grpc", grpc_port),
            metrics_port=_port("metrics", metrics_port),
            extra_args=flags,
            on_line=_log,
        )
        _run(triton)


def _out(project: Project | None, build_dir: Path | None) -> contextlib.AbstractContextManager[Path | str]:
    if build_dir is not None:
        return contextlib.nullcontext(build_dir)
    if project is not None:
        return contextlib.nullcontext(project.root / "build" / "serve")
    return TemporaryDirectory(prefix="tbsdk-serve-")


def _find(path: Path) -> Project:
    try:
        return Project.find(path)
    except HandledError as error:
        if any(path.glob("*/*/model.py")):
            next_step = f"there are models of Triton's Python backend: tbsdk serve --compat {path}"
            raise HandledError(error.message, next_step) from None
        raise


def _check_models(repository: Path) -> Path:
    """Refuse a folder that is no model repository, before a server says it in other words."""
    if any(repository.glob("*/*/*.py")) or any(repository.glob("*/config.pbtxt")):
        return repository
    next_step = "name the folder that holds MODEL/1/model.py"
    if any(repository.glob("*/*.py")) or (repository / "config.pbtxt").is_file():
        next_step = (
            f"it looks like a model; its repository is the folder above: {repository.resolve().parent}"
        )
    raise HandledError(f"no models to serve in {repository}: looked for MODEL/1/model.py", next_step)


def _check_repository(project: Project) -> Path:
    if not project.model_repository.is_dir():
        raise HandledError(
            f"{project.name} has no models to serve: there is no folder {project.model_repository}",
            f"write {project.model_repository.name}/{project.name}/config.pbtxt, which says "
            f'`backend: "{project.name}"`, and a folder 1 beside it',
        )
    return project.model_repository


def _run(triton: TritonServer) -> None:
    triton.start()
    try:
        with _end_explains(triton):
            _show(triton, triton.wait_ready(timeout=None))
        while triton.returncode is None:
            time.sleep(0.1)
        raise triton.ended()
    except KeyboardInterrupt:
        console.say("stopping; Ctrl-C again ends it at once")
        _stop(triton)
    finally:
        triton.kill()


@contextlib.contextmanager
def _end_explains(triton: TritonServer) -> Iterator[None]:
    """Let a request that failed because the server died pass: its end is the better error."""
    try:
        yield
    except OSError:
        time.sleep(0.5)  # the connection breaks before the process is gone
        if triton.returncode is None:
            raise


def _stop(triton: TritonServer) -> None:
    try:
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


def _port(service: str, given: int | None) -> int | None:
    usual = _USUAL_PORTS[service]
    return given if given is not None else usual if is_free(usual) else None


def _log(line: str) -> None:
    console.err.print(Text(line, style="dim"), soft_wrap=True)


def _show(triton: TritonServer, models: Sequence[ModelStatus]) -> None:
    out = console.out
    out.print()
    out.print("[bold green]ready[/]; Ctrl-C stops; after an edit, start it again")
    endpoints = {"http": f"http://{triton.http_url}", "grpc": triton.grpc_url, "metrics": triton.metrics_url}
    for name, url in endpoints.items():
        console.copyable(f"  {name:<8} {url}")
    for model in models:
        style = "green" if model.state == "READY" else "red"
        state = Text(model.state or "not loaded", style)
        out.print(Text(f"  model    {model.name} version {model.version or '-'}  ") + state, soft_wrap=True)
        if model.reason:
            console.copyable(f"           {model.reason}")
    for model in models:
        if model.state == "READY":
            _show_calls(triton, model)


def _show_calls(triton: TritonServer, status: ModelStatus) -> None:
    path = f"/v2/models/{status.name}/versions/{status.version}"
    metadata = ModelMetadata.of(triton.request(path), triton.request(f"{path}/config"))
    protocol, url = ("grpc", triton.grpc_url) if metadata.decoupled else ("http", triton.http_url)
    usual = url == f"127.0.0.1:{_USUAL_PORTS[protocol]}"
    console.out.print()
    console.copyable(infer_line(metadata, None if usual else url))
    curl = curl_line(metadata, triton.http_url)
    if curl:
        console.copyable(curl)
