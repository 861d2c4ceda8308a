"""The options --compat and --name: the ready-made backend in place of a project."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from triton_backend_sdk.tools.compat import NAME, compat_backend
from triton_backend_sdk.tools.project import Project


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the two options, as ``compat`` and ``name``."""
    command = click.option("--name", metavar="NAME", help=f"What --compat calls it.  [default: {NAME}]")(
        command
    )
    return click.option(
        "--compat", is_flag=True, help="No project: the backend that serves models with a model.py."
    )(command)


def choose(project: Path, compat: bool, name: str | None) -> Project:
    """Find the project that a command is about, or make the ready-made backend.

    :raises HandledError: there is none, or the name will not do.
    :raises click.UsageError: the options do not go together.
    """
    if compat:
        if project != Path():
            raise click.UsageError(
                f"--compat takes no project: leave {project} out. Is it a folder of models? "
                f"tbsdk serve --compat {project}"
            )
        return compat_backend(name or NAME)
    if name:
        raise click.UsageError("--name belongs to --compat; a project's pyproject.toml says its name.")
    return Project.find(project)
