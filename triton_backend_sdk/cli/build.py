"""``tbsdk build``: emit the backend directory of a project."""

from __future__ import annotations

import shlex
import time
from pathlib import Path

import click
from rich.filesize import decimal

from triton_backend_sdk.cli import console
from triton_backend_sdk.tools.build import build_backend
from triton_backend_sdk.tools.installation import IMAGE_ROOT
from triton_backend_sdk.tools.project import Project


@click.command(
    epilog="""\b
Examples:
  tbsdk build
  tbsdk build path/to/mybackend -o /opt/tritonserver/backends
  tbsdk build --link      the server runs the project's own files, not a copy
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
def command(project: Path, output: Path | None, link: bool) -> None:
    """Build libtriton_NAME.so and the directory around it, as Triton wants it.

    It is bound to the Python that runs this command: the server needs the same minor version. No GPU, no
    Triton source and no network are needed; the C compiler runs once per Python, not once per project.
    """
    found = Project.find(project)
    start = time.perf_counter()
    with console.err.status("building") as status:
        target = build_backend(
            found, output or found.root / "build" / "backends", link=link, progress=status.update
        )
    console.out.print(f"built [bold]{found.name}[/] in {time.perf_counter() - start:.2f} s", highlight=False)
    _show(target)
    if target.parent.resolve() == IMAGE_ROOT / "backends":
        console.out.print("\nA server that is started now finds it there.")
        return
    console.out.print("\nDrop it where the server looks, or tell the server where it is:")
    console.copyable(f"  cp -r {shlex.quote(str(target))} {IMAGE_ROOT}/backends/")
    console.copyable(
        f"  tritonserver --backend-directory={shlex.quote(str(target.parent))} "
        f"--model-repository={shlex.quote(str(found.model_repository))}"
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
