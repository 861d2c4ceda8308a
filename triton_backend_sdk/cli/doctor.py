"""``tbsdk doctor``: what this machine has and lacks."""

from __future__ import annotations

import dataclasses
import json

import click
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
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        sign = _SIGNS[finding.verdict]
        gap = " " * (6 - len(sign))
        console.out.print(sign + Text(f"{gap}{finding.name:<{width}}  {finding.detail}"), soft_wrap=True)
    lacks = [finding for finding in findings if finding.mend]
    if lacks:
        console.out.print("\n[bold]What to type:[/]")
    for finding in lacks:
        console.copyable(f"  {finding.name + ':':<18} {finding.mend}")
