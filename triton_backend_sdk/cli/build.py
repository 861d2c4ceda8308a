"""``tbsdk build``: emit the backend directory of a project."""

from __future__ import annotations

import shlex
import time
from pathlib import Path

import click
from rich.filesize import decimal

from triton_backend_sdk.cli import console
from triton_backend_sdk.cli.compat import choose
from triton_backend_sdk.cli.compat import options as compat_options
from triton_backend_sdk.tools.build import build_backend
from triton_backend_sdk.tools.compat import STOCK
from triton_backend_sdk.tools.installation import IMAGE_ROOT


@click.command(
    epilog="""\b
Examples:
  tbsdk build
  tbsdk build path/to/mybackend -o /opt/tritonserver/backends
  tbsdk build --link      the server runs the project's own files, not a copy
  tbsdk build --compat -o DIR                 DIR/python_inprocess: serves any model.py
  tbsdk build --compat --name python -o DIR   the same in the stock backend's place
"""
)
@click.argument("project", type=click.Path(path_type=Path), default=".")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Where to write NAME/.  [default: PROJECT/build/backends]",
)
@click.option("--link", is_flag=True, help="Link the project's package instead of copying it.")
@compat_options
def command(*, project: Path, output: Path | None, link: bool, compat: bool, name: str | None) -> None:
    """Build libtriton_NAME.so and the directory around it, as Triton wants it.

    It is bound to the Python that runs this command: the server needs the same minor version. No GPU, no
    Triton source and no network are needed; the C compiler runs once per Python, not once per project.
    """
    found = choose(project, compat, name)
    out = output or (Path.cwd() if compat else found.root) / "build" / "backends"
    start = time.perf_counter()
    with console.err.status("building") as status:
        target = build_backend(found, out, link=link, progress=status.update)
    console.out.print(f"built [bold]{found.name}[/] in {time.perf_counter() - start:.2f} s", highlight=False)
    _show(target)
    if compat:
        _tell_models(found.name)
    _tell_server(target, Path("REPOSITORY") if compat else found.model_repository)


def _tell_models(name: str) -> None:
    if name == STOCK:
        console.out.print("\nIt serves every model that the stock Python backend serves; no config changes.")
        return
    console.out.print("\nIn the config.pbtxt of a model with a model.py, change one line:")
    console.copyable(f'  backend: "{name}"')


def _tell_server(target: Path, repository: Path) -> None:
    if target.parent.resolve() == IMAGE_ROOT / "backends":
        console.out.print("\nA server that is started now finds it there.")
        return
    console.out.print("\nDrop it where the server looks, or tell the server where it is:")
    if target.name != STOCK:  # there the stock backend lies, and the two would mix
        console.copyable(f"  cp -r {shlex.quote(str(target))} {IMAGE_ROOT}/backends/")
    console.copyable(
        f"  tritonserver --backend-directory={shlex.quote(str(target.parent))} "
        f"--model-repository={shlex.quote(str(repository))}"
    )


def _show(target: Path) -> None:
    console.copyable(f"  {target}")
    entries = [_entry(path) for path in sorted(target.iterdir())]
    width = max(len(name) for name, _ in entries)
    for name, what in entries:
        console.copyable(f"    {name:<{width}}  {what}")


def _entry(path: Path) -> tuple[str, str]:
    if path.is_symlink():
        return path.name, f"-> {path.readlink()}"
    if path.is_dir():
        return f"{path.name}/", decimal(
            sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        )
    return path.name, decimal(path.stat().st_size)
