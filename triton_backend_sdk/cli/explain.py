"""``tbsdk explain``: what went wrong in a tritonserver's log."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from triton_backend_sdk.cli import console
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.explain.explanation import Explanation, explain
from triton_backend_sdk.tools.explain.records import Log, read

_STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan"}
_SHOWN_LINES = 2
_SAID = 300
_UNREADABLE = 2


@click.command(
    epilog="""\b
Examples:
  tbsdk explain server.log
  docker logs triton 2>&1 | tbsdk explain -
  kubectl logs triton-0 --previous | tbsdk explain - --json | jq '.findings[0]'
"""
)
@click.argument("log", type=click.Path(allow_dash=True))
@click.option("--json", "as_json", is_flag=True, help="Print one object: server, findings, led_to.")
def command(log: str, as_json: bool) -> int:
    """Say what went wrong in a tritonserver's log, why, and what to do.

    LOG is a file, or - for what comes in. The times and names that docker, compose and kubectl put before a
    line do not matter. What caused the rest comes first; the rules are those of tbsdk check, which finds such
    faults before a start. An error that nobody explained yet is shown with the lines around it.

    The exit status is 0 where nothing is wrong, 1 where something is, 2 where LOG cannot be read.
    """
    try:
        found = _read(log)
    except HandledError as error:
        console.report(error)
        return _UNREADABLE
    explanation = explain(found)
    if as_json:
        click.echo(json.dumps(_as_json(explanation), indent=2))
    else:
        _show(explanation)
    return 0 if explanation.is_fine else 1


def _read(log: str) -> Log:
    try:
        content = sys.stdin.buffer.read() if log == "-" else Path(log).read_bytes()
    except OSError as error:
        raise HandledError(
            f"cannot read {log}: {error.strerror}", "name a file, or - for the input"
        ) from error
    if b"\0" in content:
        raise HandledError(
            f"{_named(log)} is no text", "unpack it first: zcat server.log.gz | tbsdk explain -"
        )
    found = read(content.decode("utf-8", "replace").split("\n"))
    if not found.is_tritonserver:
        raise HandledError(
            f"{_named(log)} has no line of a tritonserver's log",
            "the server writes it to stderr: docker logs NAME 2>&1 | tbsdk explain -",
        )
    return found


def _named(log: str) -> str:
    return "the input" if log == "-" else log


def _as_json(explanation: Explanation) -> dict[str, Any]:
    return {
        "server": {"version": explanation.server_version, "model_repository": explanation.repository},
        "findings": [dataclasses.asdict(finding) for finding in explanation.findings],
        "led_to": [dataclasses.asdict(finding) for finding in explanation.led_to],
    }


def _show(explanation: Explanation) -> None:
    about = [
        f"tritonserver {explanation.server_version}" if explanation.server_version else "",
        explanation.repository,
    ]
    if any(about):
        _line(Text(", ".join(filter(None, about)), "dim"))
    for number, finding in enumerate(explanation.findings, 1):
        if number > 1 or any(about):
            _line(Text())
        _line(
            Text(f"{number}. ")
            + Text(finding.severity, _STYLES[finding.severity])
            + Text(f"  {finding.what}", "bold")
        )
        _row(_lines(finding.lines), _first_line(finding.said))
        if finding.at:
            _row("at", finding.at)
        for line, text in finding.around:
            _row(f"  {line}", text, "dim")
        if finding.id == "unknown":
            _row("why", "this is none of the errors that tbsdk knows; the lines around it may tell more")
        if finding.why:
            _row("why", finding.why)
        for index, step in enumerate(finding.do):
            _row("" if index else "do", step)
        if finding.rule:
            _row("check", f"{finding.rule}: tbsdk check finds it before a start")
    if explanation.led_to and explanation.findings:
        _line(Text("\nwhich led to"))
        for finding in explanation.led_to:
            _row(_lines(finding.lines), finding.what)
    if explanation.is_fine:
        _line(Text("\nnothing is wrong" if explanation.findings else "nothing is wrong", "green"))


def _lines(numbers: list[int]) -> str:
    if len(numbers) == 1:
        return f"line {numbers[0]}"
    more = len(numbers) - _SHOWN_LINES
    return f"lines {', '.join(map(str, numbers[:_SHOWN_LINES]))}" + (f" +{more}" if more > 0 else "")


def _first_line(text: str) -> str:
    first, _, rest = text.strip().partition("\n")
    return first[:_SAID] + (" ..." if rest or len(first) > _SAID else "")


def _row(name: str, text: str, style: str = "") -> None:
    _line(Text(f"   {name:<15} ", "dim") + Text(text, style))


def _line(text: Text) -> None:
    console.out.print(text, soft_wrap=True, highlight=False)
