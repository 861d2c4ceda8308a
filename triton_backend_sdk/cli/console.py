"""What the commands share: where output goes, how errors and progress look."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from triton_backend_sdk.tools.errors import HandledError

#: Results: what a person asked for, or a program reads.
out = Console()
#: Everything said on the way: steps, logs, errors.
err = Console(stderr=True)


def report(error: HandledError) -> None:
    """Write an error as one line, with its evidence and the next step below."""
    err.print("[bold red]error:[/]", _plain(error.message), soft_wrap=True, highlight=False, markup=True)
    for line in error.details:
        err.print(f"  {line}", style="dim", soft_wrap=True, highlight=False, markup=False)
    if error.next_step:
        err.print("[bold]next:[/]", _plain(error.next_step), soft_wrap=True, highlight=False, markup=True)


def say(text: str) -> None:
    """Write a line about what is being done."""
    err.print(text, soft_wrap=True, highlight=False, markup=False)


def copyable(line: str) -> None:
    """Write a line that a person copies into a shell: never wrapped, never styled."""
    out.print(line, soft_wrap=True, highlight=False, markup=False)


@contextlib.contextmanager
def byte_progress() -> Iterator[Callable[[str, int, int], None]]:
    """Show one bar per stage of a work that is counted in bytes; the callback takes stage, done and total."""
    columns = (TextColumn("{task.description:<10}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=err) as progress:
        tasks = {}

        def update(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage, total=total)
            progress.update(tasks[stage], completed=done, total=total)

        yield update


def _plain(text: str) -> str:
    from rich.markup import escape  # noqa: PLC0415

    return escape(text)
