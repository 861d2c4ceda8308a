"""``tbsdk migrate``: whether a model of the stock Python backend runs in process, and as a plugin."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from triton_backend_sdk.cli import console
from triton_backend_sdk.cli.new import file_tree
from triton_backend_sdk.tools.compat import NAME
from triton_backend_sdk.tools.compat import STOCK as STOCK_BACKEND
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.migrate import Report, examine, locate
from triton_backend_sdk.tools.migrate.calls import BROKEN, LOOK, NOTE, STOCK
from triton_backend_sdk.tools.migrate.locate import Found
from triton_backend_sdk.tools.migrate.verdict import VERDICTS
from triton_backend_sdk.tools.migrate.writer import backend_name, write_project

#: Level of the worst finding to exit status; 1 and 2 are errors, as in every command.
_STATUS = {NOTE: 0, LOOK: 3, STOCK: 4, BROKEN: 4}
_STYLES = {NOTE: "green", LOOK: "yellow", STOCK: "bold red", BROKEN: "bold red"}
_SIGNS = {NOTE: "note", LOOK: "look", STOCK: "stock", BROKEN: "error"}


@click.command(
    epilog="""\b
Examples:
  tbsdk migrate model_repository/tokenizer      what it uses, and whether it runs
  tbsdk migrate model_repository                every model.py of a repository
  tbsdk migrate model_repository/tokenizer -o . write it as a backend project, ./tokenizer
  tbsdk migrate models --json | jq '.[] | {model, verdict}'

\b
Exit status, of the report:
  0  every model runs as it is
  1  nothing could be looked at (2: nor the command line)
  3  some model runs with differences, or needs something
  4  some model should stay with the stock backend, or has an error
"""
)
@click.argument("path", metavar="MODEL_DIR|model.py", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Write the backend project to DIR/NAME."
)
@click.option("--name", metavar="NAME", help="What the new backend is called.  [default: as the model]")
@click.option("--wrap", is_flag=True, help="Write a wrapper around model.py, even where its source can be.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as a list of objects, one per model.")
def command(*, path: Path, output: Path | None, name: str | None, wrap: bool, as_json: bool) -> int:
    """Tell what a model.py of the stock Python backend uses and whether it runs in the server's process.

    Nothing of the model is run or imported. With -o it becomes a backend project of its own: its source with
    the SDK's names where that is simple, a wrapper around it elsewhere. Nothing is ever overwritten.
    """
    if output is None and (name or wrap):
        raise click.UsageError("--name and --wrap say how to write it: add -o DIR.")
    models = locate(path)
    if output is not None and len(models) > 1:
        names = ", ".join(found.name for found in models)
        raise click.UsageError(f"-o writes one model; {path} holds {names}.")
    reports, errors = _examine(models)
    if as_json:
        unread = [{"model": found.name, "file": str(found.file), **_unread(error)} for found, error in errors]
        click.echo(json.dumps([*(report.as_dict() for report in reports), *unread], indent=2))
    else:
        _show_all(reports)
    for _, error in errors:
        console.report(error)
    if output is not None:
        _write(reports[0], output, name, wrap=wrap, quiet=as_json)
        return 0
    if not as_json:
        _tell_next(reports, path)
    return _STATUS[BROKEN if errors else max(report.level for report in reports)]


def _examine(models: list[Found]) -> tuple[list[Report], list[tuple[Found, HandledError]]]:
    """Look at each model; one of several that cannot be read does not keep the others from it."""
    reports, errors = [], []
    for found in models:
        try:
            reports.append(examine(found))
        except HandledError as error:
            if len(models) == 1:
                raise
            errors.append((found, error))
    return reports, errors


def _unread(error: HandledError) -> dict[str, str]:
    return {"verdict": VERDICTS[BROKEN], "error": error.message}


def _show_all(reports: list[Report]) -> None:
    for report in reports:
        _show(report)
    if len(reports) > 1:
        table = Table("model", "verdict", "as a plugin", box=None, pad_edge=False)
        for report in reports:
            form = "source" if report.rewriting.text else "wrapper"
            table.add_row(
                Text(report.inventory.found.name), Text(report.verdict, _STYLES[report.level]), form
            )
        console.out.print(table, "")


def _show(report: Report) -> None:
    inventory = report.inventory
    found = inventory.found
    title = Text(found.name, "bold") + Text(f"  {_short(found.file)}  ({inventory.mode})", "dim")
    console.out.print(title, soft_wrap=True)
    for note in found.notes:
        console.out.print(Text(f"  {note}", "dim"), soft_wrap=True)
    if inventory.uses:
        table = Table(box=None, padding=(0, 2, 0, 0))
        table.add_column("  it uses", no_wrap=True)
        table.add_column("line")
        table.add_column("in process")
        for use in inventory.uses.values():
            lines = [_place(report, *place) for place in use.places]
            more = f", ... ({len(lines)})" if len(lines) > 4 else ""
            table.add_row(Text(f"  {use.name}"), Text(", ".join(lines[:4]) + more), Text(use.becomes))
        console.out.print(table)
    for finding in report.findings:
        place = _place(report, finding.file, finding.line) if finding.file else ""
        where = f"{'line ' if place.isdigit() else ''}{place}: " if place else ""
        sign = Text(f"  {_SIGNS[finding.level]:<6}", _STYLES[finding.level])
        console.out.print(sign + Text(where + finding.reason), soft_wrap=True)
        if finding.mend:
            console.out.print(Text(f"        {finding.mend}", "dim"), soft_wrap=True)
    verdict = Text("  verdict: ") + Text(report.verdict, _STYLES[report.level])
    console.out.print(verdict, soft_wrap=True)
    console.out.print(Text(f"  as a plugin: {_form(report)}\n"), soft_wrap=True)


def _form(report: Report) -> str:
    if report.rewriting.text is not None:
        return "its source, with the SDK's names"
    return f"a wrapper, as {report.rewriting.reason}"


def _place(report: Report, file: Path | None, line: int) -> str:
    """Name a line, with its file where that is not model.py."""
    if file is None or file == report.inventory.found.file:
        return str(line)
    return f"{file.name}:{line}" if line else file.name


def _short(file: Path) -> str:
    relative = os.path.relpath(file)
    return str(file) if relative.startswith("..") else relative


def _tell_next(reports: list[Report], path: Path) -> None:
    runs = [report for report in reports if report.level <= LOOK]
    if not runs:
        broken = any(report.level == BROKEN for report in reports) or not reports
        say = "Mend the error first." if broken else "Nothing to change: leave the config as it is."
        console.out.print(say)
        return
    only = len(runs) == 1
    console.out.print("To run it in process:" if only else "To run them in process:")
    console.copyable("  tbsdk build --compat -o BACKENDS     # the backend, once")
    for report in runs:
        found = report.inventory.found
        file = shlex.quote(_short(found.config_file))
        if found.config.get("backend") == STOCK_BACKEND:
            change = f's/^\\( *backend: *\\)"{STOCK_BACKEND}"/\\1"{NAME}"/'
            console.copyable(f"  sed -i '{change}' {file}")
        elif found.config.get("backend") != NAME:
            console.copyable(f"  echo 'backend: \"{NAME}\"' >> {file}")
    if not only:
        console.out.print("Or in the stock backend's place, with no config changed:")
        console.copyable(f"  tbsdk build --compat --name {STOCK_BACKEND} -o BACKENDS")
    else:
        command = f"tbsdk migrate {shlex.quote(str(path))} -o ."
        console.out.print("Or write it as a backend of its own:")
        console.copyable(f"  {command}")


def _write(report: Report, output: Path, name: str | None, *, wrap: bool, quiet: bool) -> None:
    chosen = backend_name(report, name)
    project = write_project(report, output, chosen, wrap=wrap)
    if quiet:
        return
    console.out.print(file_tree(f"[bold]{chosen}[/]", project.files))
    console.out.print("\nNext:")
    console.copyable(f"  cd {shlex.quote(os.path.relpath(project.root))}")
    console.copyable("  tbsdk serve      # build it and start the real tritonserver on it")
    console.copyable("  pytest           # load it in the real Triton; see the README for what to look at")
