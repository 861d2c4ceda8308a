"""``tbsdk doctor``: what this machine has and lacks."""

from __future__ import annotations

import dataclasses
import json

import click
from rich.table import Table
from rich.text import Text

from triton_backend_sdk.cli import console
from triton_backend_sdk.tools.doctor import Finding, examine

_SIGNS = {"ok": Text("ok", "green"), "warn": Text("warn", "yellow"), "fail": Text("FAIL", "bold red")}


@click.command(
    epilog="""\b
Examples:
  tbsdk doctor
  tbsdk doctor --json | jq '.[] | select(.verdict != "ok")'
"""
)
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects: name, verdict, detail, mend.")
def command(as_json: bool) -> int:
    """Tell what this machine has and lacks, and what to type for each lack.

    The exit status is 1 where something is missing that a backend cannot be built without. A warning is about
    one feature only, or about something unusual.
    """
    with console.err.status("looking"):
        findings = list(examine())
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=2))
    else:
        _show(findings)
    return 1 if any(finding.verdict == "fail" for finding in findings) else 0


def _show(findings: list[Finding]) -> None:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for column in range(3):
        table.add_column(overflow="fold", no_wrap=column < 2)
    for finding in findings:
        table.add_row(_SIGNS[finding.verdict], finding.name, Text(finding.detail))
    console.out.print(table)
    lacks = [finding for finding in findings if finding.mend]
    if lacks:
        console.out.print("\n[bold]What to type:[/]")
    for finding in lacks:
        console.copyable(f"  {finding.name + ':':<18} {finding.mend}")
