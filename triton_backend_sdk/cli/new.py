"""``tbsdk new``: write a backend project, or an entry of a model repository."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from pathlib import Path

import click
from rich.tree import Tree

from triton_backend_sdk.cli import console
from triton_backend_sdk.tools.model_entry import FRAMEWORKS, new_entry
from triton_backend_sdk.tools.templates import new_project


@click.command(
    epilog="""\b
Examples:
  tbsdk new mybackend
  tbsdk new tokenizer --into ~/backends
  tbsdk new resnet --framework onnx --into model_repository --labels
  tbsdk new pipeline --framework ensemble --into model_repository
  tbsdk new prices --framework custom --backend mybackend --into model_repository

\b
Frameworks:
"""
    + "\n".join(f"  {name:<22} {what}" for name, (what, _) in FRAMEWORKS.items())
)
@click.argument("name")
@click.option(
    "--into",
    type=click.Path(path_type=Path),
    default=".",
    help="The folder to write it into; with --framework a model repository.  [default: here]",
)
@click.option(
    "--framework",
    type=click.Choice(list(FRAMEWORKS)),
    metavar="FRAMEWORK",
    help="Write a model of this framework instead: its config.pbtxt and the place of its file.",
)
@click.option(
    "--backend", metavar="NAME", help="With --framework custom: the backend's name.  [default: NAME]"
)
@click.option("--labels", is_flag=True, help="With --framework: labels.txt for the output's classes.")
@click.option("--warmup", is_flag=True, help="With --framework: run it once before it takes requests.")
def command(
    name: str, *, into: Path, framework: str | None, backend: str | None, labels: bool, warmup: bool
) -> None:
    """Write DIR/NAME, a backend project that already works, or a model's place in a repository.

    A project holds a package NAME with the hooks in plugin.py, tests, a model repository and a Dockerfile.
    NAME becomes libtriton_NAME.so, so it takes small letters, digits and _.

    With --framework it is an entry of a model repository: a commented config.pbtxt, with tensors to be
    replaced by the model's own, and a version 1. Its file (model.onnx, ...) is yours to bring; python and
    ensemble work as they are. Nothing is ever overwritten.
    """
    if framework is None:
        if backend or labels or warmup:
            raise click.UsageError("--backend, --labels and --warmup go with --framework")
        _new_project(name, into)
    elif backend and framework != "custom":
        raise click.UsageError("--backend goes with --framework custom: the others have Triton's")
    else:
        _new_entry(name, into, framework, backend, labels=labels, warmup=warmup)


def _new_project(name: str, into: Path) -> None:
    project = new_project(name, into)
    console.out.print(file_tree(f"[bold]{name}[/]", project.files))
    console.out.print("\nIt works as it is. Next:")
    console.copyable(f"  cd {shlex.quote(os.path.relpath(project.root))}")
    console.copyable("  tbsdk serve      # build it and start the real tritonserver on it")
    console.copyable(f"  pytest           # test it; make it yours in {name}/plugin.py")


def _new_entry(
    name: str, into: Path, framework: str, backend: str | None, *, labels: bool, warmup: bool
) -> None:
    entry = new_entry(name, framework, into, backend=backend, labels=labels, warmup=warmup)
    repository = os.path.relpath(entry.repository)
    console.out.print(file_tree(f"[bold]{entry.repository.name}[/]", entry.files))
    console.out.print("\nNext:")
    if entry.missing is not None:
        place = shlex.quote(str(Path(repository, entry.missing)))
        console.copyable(f"  cp -r YOURS {place}" if entry.is_folder else f"  cp YOURS {place}")
    console.copyable(f"  $EDITOR {shlex.quote(str(Path(repository, name, 'config.pbtxt')))}")
    console.copyable(f"  tbsdk check {shlex.quote(repository)}")


def file_tree(label: str, files: Iterable[Path]) -> Tree:
    """Draw files, given relative to their root, as a tree."""
    tree = Tree(label, highlight=False)
    folders = {Path(): tree}
    for file in files:
        for folder in (*reversed(file.parents), file):
            if folder not in folders:
                suffix = "" if folder == file else "/"
                folders[folder] = folders[folder.parent].add(folder.name + suffix)
    return tree
