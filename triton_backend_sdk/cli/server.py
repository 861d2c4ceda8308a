"""``tbsdk server``: the tritonserver that the other commands run."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from triton_backend_sdk.cli import console
from triton_backend_sdk.tools.install import SERVER_VERSION, install_server, installed_server
from triton_backend_sdk.tools.server import ServerInstallation, TritonServer, find_server

_SERVER = click.option(
    "--server", type=click.Path(path_type=Path), help="A tritonserver, or the folder above its bin."
)


@click.group(
    epilog="""\b
Examples:
  tbsdk server install                    fetch it, 55 MB
  tbsdk server install --from FILE.whl    without a network
  tbsdk server path                       the one that tbsdk serve would start
"""
)
def command() -> None:
    """Fetch a tritonserver, or tell which one is used.

    One is looked for in --server, $TBSDK_TRITONSERVER, PATH, /opt/tritonserver, and the cache folder
    ($TBSDK_CACHE_DIR, else ~/.cache/triton-backend-sdk), into which install puts it.
    """


@command.command(
    epilog="""\b
Examples:
  tbsdk server install
  pip download --no-deps nvidia-pytriton==0.7.0
  tbsdk server install --from nvidia_pytriton-0.7.0-py3-none-manylinux_2_35_x86_64.whl
"""
)
@click.option("--from", "wheel", type=click.Path(path_type=Path), help="Take this wheel and fetch nothing.")
def install(wheel: Path | None) -> None:
    """Fetch NVIDIA's tritonserver binary into the cache folder.

    pip fetches the wheel nvidia-pytriton, and its hash is checked. This server runs without a GPU too.
    """
    present = installed_server()
    if present is None:
        with console.byte_progress() as progress:
            present = install_server(progress, wheel=wheel)
    console.say(f"tritonserver {SERVER_VERSION} is in {present}")


@command.command(
    epilog="""\b
Examples:
  tbsdk server path
  $(tbsdk server path) --help
"""
)
@_SERVER
def path(server: Path | None) -> None:
    """Print the path of the tritonserver that is used."""
    console.copyable(str(find_server(server).binary))


@command.command(
    epilog="""\b
Examples:
  tbsdk server version
  tbsdk server version --server /opt/tritonserver
"""
)
@_SERVER
def version(server: Path | None) -> None:
    """Print the version of the tritonserver that is used."""
    found = find_server(server)
    console.copyable(found.version or _ask(found))


def _ask(server: ServerInstallation) -> str:
    # tritonserver has no --version, but tells its clients.
    with tempfile.TemporaryDirectory() as empty, TritonServer(Path(empty), server=server) as running:
        return str(running.request("/v2")["version"])
