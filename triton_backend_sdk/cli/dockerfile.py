"""``tbsdk dockerfile``: the text that puts a backend into an image."""

from __future__ import annotations

import shlex
import sysconfig
from pathlib import Path

import click

from triton_backend_sdk._version import __version__
from triton_backend_sdk.cli import console
from triton_backend_sdk.cli.compat import choose
from triton_backend_sdk.cli.compat import options as compat_options
from triton_backend_sdk.tools.dockerfile import (
    DEFAULT_VERSION,
    STYLES,
    Image,
    build_words,
    sdk_checkout,
    write,
)


@click.command(
    epilog="""\b
Examples:
  tbsdk dockerfile -o Dockerfile && docker build -t mybackend .
  tbsdk dockerfile --style minimal --version 26.05
  tbsdk build -o build/backends
  tbsdk dockerfile --style stanza | docker build -t mybackend -f - build/backends
  tbsdk dockerfile --compat --name python     for model.py files, no config changes
"""
)
@click.argument("project", type=click.Path(path_type=Path), default=".")
@click.option(
    "--version",
    metavar="VERSION",
    default=DEFAULT_VERSION,
    show_default=True,
    help="Release of NVIDIA's container image, or the server's version: 24.10 has 2.51.",
)
@click.option(
    "--style",
    type=click.Choice(list(STYLES)),
    default="build",
    show_default=True,
    help="build: compile inside the image; stanza: copy what `tbsdk build` wrote; minimal: the bare server.",
)
@click.option("--full", metavar="IMAGE", help="The image that carries tritonserver, instead of NVIDIA's.")
@click.option(
    "--base", metavar="IMAGE", help="The small image that minimal starts from, instead of NVIDIA's."
)
@compat_options
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write it there.  [default: print it]")
def command(
    *,
    project: Path,
    version: str,
    style: str,
    full: str | None,
    base: str | None,
    compat: bool,
    name: str | None,
    output: Path | None,
) -> None:
    """Print a Dockerfile for a backend: tritonserver, the backend, and what it needs installed."""
    if base and style != "minimal":
        raise click.UsageError(
            "--base belongs to --style minimal; --full names the image of the other styles."
        )
    found = choose(project, compat, name)
    image = Image(found.name, found.requirements, version, full, base, compat)
    text = STYLES[style](image)
    if output is None:
        click.echo(text, nl=False)
    else:
        write(text, output)
        console.say(f"wrote {output}")
    _advise(image, style, Path.cwd() if compat else found.root)


def _advise(image: Image, style: str, context: Path) -> None:
    """Say on stderr why the image would not work, as far as this machine knows."""
    python, checkout = sysconfig.get_python_version(), sdk_checkout()
    if style == "stanza" and not image.full and image.python != python:
        console.say(
            f"note: the image has Python {image.python}, and what Python {python} builds does not load there:"
        )
        command = shlex.join([f"python{image.python}", "-m", "triton_backend_sdk", *build_words(image)])
        console.say(f"  {command}    # or take --style build")
    if (
        style != "stanza"
        and checkout
        and not any(context.glob(f"wheels/triton_backend_sdk-{__version__}-*.whl"))
    ):
        paths = shlex.join([str(context / "wheels"), str(checkout)])
        console.say("note: this SDK is a checkout; put it beside the project before docker build:")
        console.say(f"  python3 -m pip wheel --no-deps -w {paths}")
