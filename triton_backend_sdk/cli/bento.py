"""``tbsdk bento``: a model repository as a BentoML service."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from triton_backend_sdk._version import __version__
from triton_backend_sdk.cli import console
from triton_backend_sdk.runner.settings import server_options
from triton_backend_sdk.tools import bento
from triton_backend_sdk.tools.dockerfile import DEFAULT_VERSION, sdk_checkout
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.installation import find_server
from triton_backend_sdk.tools.server_options.options import is_uri


@click.group(
    epilog="""\b
Examples:
  tbsdk bento export path/to/model_repository
  tbsdk bento serve path/to --triton-option log-verbose=1
"""
)
def command() -> None:
    """Write a BentoML service for a model repository, and serve it.

    The service uses triton_backend_sdk.runner.Runner, which starts a tritonserver beside it. BentoML is yours
    to install: pip install 'triton-backend-sdk[client]' 'bentoml>=1.4'
    """


@command.command(
    epilog="""\b
Examples:
  tbsdk bento export model_repository && bentoml serve
  tbsdk bento export model_repository --release 24.10 -o bento
  tbsdk bento export s3://bucket/models -o bento
  tbsdk bento export model_repository --base registry.example/my-triton:1
"""
)
@click.argument("repository")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where to.  [default: beside REPOSITORY, or here where that is a bucket]",
)
@click.option("--name", help="The service's name.  [default: that of the folder above REPOSITORY]")
@click.option(
    "--release",
    metavar="VERSION",
    default=DEFAULT_VERSION,
    show_default=True,
    help="Release of NVIDIA's container image, or the server's version: 24.10 has 2.51.",
)
@click.option("--base", metavar="IMAGE", help="The image that carries tritonserver, instead of NVIDIA's.")
@click.option("--force", is_flag=True, help="Overwrite service.py and bentofile.yaml.")
def export(
    *, repository: str, output: Path | None, name: str | None, release: str, base: str | None, force: bool
) -> None:
    """Write service.py and bentofile.yaml for a model repository.

    Each model that has a config.pbtxt gets an endpoint with its inputs; `infer` asks any model. With -o a
    repository on this machine is copied there, too: BentoML packs nothing from elsewhere.
    """
    home = Path() if is_uri(repository) else Path(repository).resolve().parent
    folder = output or home
    wheel = next((path.name for path in folder.glob(f"wheels/triton_backend_sdk-{__version__}-*.whl")), None)
    found = bento.export(repository, name=name, release=release, image=base, wheel=wheel)
    files = {folder / "service.py": found.service, folder / "bentofile.yaml": found.bentofile}
    copy = None if is_uri(repository) else _copy(Path(repository).resolve(), folder)
    present = [file for file in [*files, copy] if file and file.exists()]
    if present and not force:
        raise HandledError(f"{present[0]} is there already", "add --force to overwrite it")
    folder.mkdir(parents=True, exist_ok=True)
    if copy is not None:
        shutil.copytree(repository, copy, dirs_exist_ok=True)
    for file, text in files.items():
        file.write_text(text, encoding="utf-8")
        console.say(f"wrote {file}")
    for empty in found.empty:
        ((copy or Path(repository)) / empty.relative_to(repository) / ".gitkeep").touch()
    if found.empty:
        console.say(f"wrote .gitkeep in {len(found.empty)} version folder(s): BentoML packs no empty ones")
    _advise(folder, wheel)
    if found.python and not _runs_python():
        _advise_python(found.python, folder.resolve())
    else:
        console.say(f"next: cd {shlex.quote(str(folder))} && bentoml serve")


def _advise(folder: Path, wheel: str | None) -> None:
    """Say how an SDK that no index has gets into an image."""
    checkout = sdk_checkout()
    if checkout and not wheel:
        paths = shlex.join([str(folder / "wheels"), str(checkout)])
        console.say("note: this SDK is a checkout; for bentoml containerize, make a wheel and export again:")
        console.say(f"  python3 -m pip wheel --no-deps -w {paths}")


def _runs_python() -> bool:
    try:
        return find_server().runs_python
    except HandledError:
        return False  # the one that tbsdk fetches does not


def _advise_python(models: Sequence[str], folder: Path) -> None:
    """Say how models of the stock Python backend run on a server without its stub."""
    named = ", ".join(models[:3]) + (f" and {len(models) - 3} more" if models[3:] else "")
    backends = folder / "backends"
    build = ["build", "--compat", "--name", "python", "-o", str(backends)]
    serve = ["bento", "serve", str(folder), "--triton-option", f"backend-directory={backends}"]
    console.say(f"note: the server here lacks the stub of Triton's Python backend, which {named} would need;")
    console.say("next: run such models in its process, and link into that folder what other models need:")
    for words in (build, serve):
        console.say(f"  {shlex.join(['tbsdk', *words])}")


def _copy(repository: Path, folder: Path) -> Path | None:
    """Give where the repository is copied to; None where it lies there."""
    if repository in (folder.resolve(), *folder.resolve().parents):
        raise HandledError(f"{folder} lies in the repository itself", "name another -o")
    return None if repository.parent == folder.resolve() else folder / repository.name


@command.command(
    context_settings={"ignore_unknown_options": True},
    epilog="""\b
Examples:
  tbsdk bento serve
  tbsdk bento serve path/to --triton-option model-control-mode=explicit --triton-option load-model=mymodel
  tbsdk bento serve path/to --port 3001
""",
)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=".")
@click.option(
    "--triton-option",
    "--triton-options",
    "triton_options",
    multiple=True,
    metavar="ARG=VALUE",
    help="An option of tritonserver, as `bentoml serve` of BentoML 1.0.14 took it.",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def serve(*, folder: Path, triton_options: Sequence[str], arguments: Sequence[str]) -> None:
    """Run `bentoml serve` with options for the tritonserver that its Runner starts.

    Other options are bentoml's. The Runner reads tritonserver's from $TBSDK_RUNNER_OPTIONS.
    """
    try:
        server_options(None, (), triton_options, {})
    except (TypeError, ValueError) as error:
        raise HandledError(str(error), "tritonserver's options are in `tbsdk serve --help`") from error
    # That of this Python, also where its environment is not active.
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    program = shutil.which("bentoml", path=places)
    if program is None:
        raise HandledError("bentoml is not on PATH", "pip install 'bentoml>=1.4'")
    given = [*shlex.split(os.environ.get("TBSDK_RUNNER_OPTIONS", "")), *triton_options]
    os.environ["TBSDK_RUNNER_OPTIONS"] = shlex.join(given)
    os.execv(program, [program, "serve", str(folder), *arguments])  # noqa: S606  it becomes bentoml
