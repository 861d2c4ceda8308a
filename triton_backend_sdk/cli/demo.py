"""``tbsdk demo``: from nothing to answers of the real tritonserver, one visible step after another."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
from rich.syntax import Syntax
from rich.table import Table

from triton_backend_sdk.cli import console
from triton_backend_sdk.cli.new import file_tree
from triton_backend_sdk.tools import client
from triton_backend_sdk.tools.build import build_backend
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.install import install_server
from triton_backend_sdk.tools.project import Project
from triton_backend_sdk.tools.server import TritonServer, find_server
from triton_backend_sdk.tools.templates import new_project

NAME = "hello"
_REQUESTS = 500
_INPUT = np.array([[1.0, 2.5, -3.0]], np.float32)


@click.command(
    epilog="""\b
Examples:
  tbsdk demo
  tbsdk demo --into /tmp
"""
)
@click.option(
    "--into", type=click.Path(path_type=Path), default=".", help="Where to write hello/.  [default: here]"
)
def command(into: Path) -> None:
    """Write a backend, build it, serve it with the real tritonserver and send it requests.

    A tritonserver is fetched if there is none (55 MB, once). A hello/ that an earlier demo wrote is replaced;
    nothing else is. No process is left behind.
    """
    project = _scaffold(into)
    backends = _build(project)
    _server()
    done = _step("start tritonserver on it")
    server = TritonServer(project.model_repository, backend_directory=backends)
    server.start()
    try:
        for model in server.wait_ready():
            done(f"{model.name} version {model.version} is {model.state}, pid {server.pid}")
        _ask(server)
    except BaseException:
        server.kill()  # a request that Ctrl-C has cut off would hold the server for its exit timeout
        raise
    console.out.print(f"stopped, with exit status {server.stop()}")
    _what_next(project.root)


def _step(title: str) -> Callable[[str], None]:
    """Write a headline; what it gives writes the step's result and how long it took."""
    console.out.rule(f"[bold]{title}", align="left")
    start = time.perf_counter()

    def done(result: str) -> None:
        console.out.print(f"{result} [dim]({time.perf_counter() - start:.2f} s)[/]", highlight=False)

    return done


def _scaffold(into: Path) -> Project:
    target = into.expanduser().resolve() / NAME
    marker = target / ".demo"
    if marker.is_file():
        shutil.rmtree(target)
    done = _step(f"tbsdk new {NAME}")
    written = new_project(NAME, into)
    marker.touch()
    console.out.print(file_tree(f"[bold]{NAME}[/]", written.files))
    done(f"a backend that already works; this is all of its {NAME}/plugin.py:")
    source = (written.root / NAME / "plugin.py").read_text()
    console.out.print(Syntax(source, "python", background_color="default", word_wrap=True))
    return Project.find(written.root)


def _server() -> None:
    try:
        found = find_server()
    except HandledError:
        done = _step("tbsdk server install")
        with console.byte_progress() as progress:
            install_server(progress)
        found = find_server()
        done(f"tritonserver {found.version}, NVIDIA's own binary")


def _build(project: Project) -> Path:
    backends = project.root / "build" / "backends"
    done = _step("tbsdk build")
    with console.err.status("compiling") as status:
        target = build_backend(project, backends, progress=status.update)
    library = target / f"libtriton_{NAME}.so"
    done(f"{os.path.relpath(library)}, {library.stat().st_size // 1024} KB")
    return backends


def _ask(server: TritonServer) -> None:
    protocols: dict[client.Protocol, str] = {"http": server.http_url, "grpc": server.grpc_url}
    _step("send it requests with tritonclient")
    table = Table(header_style="bold", box=None, padding=(0, 1))
    for column in ("over", "IN", "OUT", "latency, median", "99 %"):
        table.add_column(column, no_wrap=True)
    for protocol, url in protocols.items():
        result = client.infer(url, protocol, NAME, {"IN": _INPUT})
        if not np.array_equal(result.outputs["OUT"], 2 * _INPUT):
            raise HandledError(f"the answer over {protocol} is wrong: {result.outputs['OUT']}")
        taken = client.latencies(url, protocol, NAME, {"IN": _INPUT}, _REQUESTS)
        median, tail = taken[len(taken) // 2], taken[len(taken) * 99 // 100]
        tensors = str(_INPUT.tolist()), str(result.outputs["OUT"].tolist())
        table.add_row(protocol, *tensors, f"{median:.2f} ms", f"{tail:.2f} ms")
    console.out.print(table)
    console.out.print(
        f"[dim]{_REQUESTS} requests over one connection each; client, network and server together.[/]"
    )


def _what_next(root: Path) -> None:
    console.out.rule("[bold]what to type next", align="left")
    if sys.prefix != sys.base_prefix and "VIRTUAL_ENV" not in os.environ:
        activate = os.path.relpath(Path(sys.prefix, "bin", "activate"))
        console.copyable(f"  source {shlex.quote(activate)}")
    console.copyable(f"  cd {shlex.quote(os.path.relpath(root))}")
    console.copyable(f"  $EDITOR {NAME}/plugin.py           # make it yours")
    console.copyable("  tbsdk serve                       # the same server, until Ctrl-C")
    console.copyable(f"  tbsdk infer {NAME} -i IN=1,2,3      # from another terminal")
    console.copyable("  pytest                            # its tests, in the real Triton core too")
    console.copyable("  tbsdk dockerfile                  # into an image")
