"""``tbsdk new``: write a backend project."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from pathlib import Path

import click
from rich.tree import Tree

from triton_backend_sdk.cli import console
from triton_backend_sdk.tools.templates import new_project


@click.command(
    epilog="""\b
Examples:
  tbsdk new mybackend
  tbsdk new tokenizer --into ~/backends
"""
)
@click.argument("name")
@click.option(
    "--into",
    type=click.Path(path_type=Path),
    default=".",
    help="The folder to write it into.  [default: here]",
)
def command(name: str, into: Path) -> None:
    """Write DIR/NAME, a backend project that already works.

    It holds a package NAME with the hooks in plugin.py, tests, a model repository and a Dockerfile. NAME
    becomes libtriton_NAME.so, so it takes small letters, digits and _. Nothing is ever overwritten.
    """
    project = new_project(name, into)
    console.out.print(file_tree(f"[bold]{name}[/]", project.files))
    console.out.print("\nIt works as it is. Next:")
    console.copyable(f"  cd {shlex.quote(os.path.relpath(project.root))}")
    console.copyable("  tbsdk serve      # build it and start the real tritonserver on it")
    console.copyable(f"  pytest           # test it; make it yours in {name}/plugin.py")


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
