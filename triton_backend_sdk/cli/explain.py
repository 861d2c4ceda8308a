"""``tbsdk explain``: what went wrong in a tritonserver's log."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import io
import json
import sys
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import click
from rich.text import Text

from triton_backend_sdk.cli import console
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.explain.explanation import Explanation, Finding, explain, tells_something
from triton_backend_sdk.tools.explain.records import Log, Reader

_STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan"}
_SHOWN_LINES = 2
_SHOWN_MODELS = 10
#: Findings of one kind; a repository of a thousand models can have a thousand.
_SHOWN_ALIKE = 10
_SAID = 300
_UNREADABLE = 2
_LONGEST = 1 << 20
_TELL_LINES = 200_000
_GZIP = b"\x1f\x8b"
#: As PowerShell writes what is redirected to a file.
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


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
    line do not matter; it may be large, and packed (.gz). Ctrl-C ends one that goes on (docker logs -f). What
    caused the rest comes first; the rules are those of tbsdk check, which finds such faults before a
    start. An error that nobody explained yet is shown with the lines around it.

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
    reader = Reader(tells_something)
    try:
        with _opened(log) as file, console.err.status(f"reading {_named(log)}") as status:
            size = 0 if log == "-" else Path(log).stat().st_size
            for number, line in enumerate(_texts(file)):
                if number % _TELL_LINES == 0 and number:
                    done = f", {file.tell() / size:.0%}" if size else ""
                    status.update(f"reading {_named(log)}: {number:,} lines{done}")
                reader.line(line)
    except KeyboardInterrupt:
        console.say("stopped reading; this is what came until now")
    except OSError as error:
        raise _unreadable(log, error) from error
    except (EOFError, zlib.error) as error:
        raise HandledError(f"cannot unpack {_named(log)}: {error}", "copy the file again") from error
    found = reader.end()
    if not found.is_tritonserver:
        raise HandledError(
            f"{_named(log)} has no line of a tritonserver's log",
            "the server writes it to stderr: docker logs NAME 2>&1 | tbsdk explain -",
        )
    return found


def _opened(log: str) -> contextlib.AbstractContextManager[BinaryIO]:
    if log != "-":
        return Path(log).open("rb")
    if sys.stdin.isatty():
        console.say("reading what you paste; Ctrl-D ends it")
    return contextlib.nullcontext(cast("BinaryIO", sys.stdin.buffer))


def _texts(file: BinaryIO) -> Iterator[str]:
    """Give the lines, of which those that are too long are cut."""
    start = cast("io.BufferedReader", file).peek(2)[:2]
    plain = cast("BinaryIO", gzip.GzipFile(fileobj=file)) if start == _GZIP else file
    if start == _GZIP:
        start = cast("io.BufferedReader", plain).peek(2)[:2]
    encoding = "utf-16" if start in _UTF16 else "utf-8-sig"
    text = io.TextIOWrapper(plain, encoding, errors="replace", newline="\n")
    try:
        while line := text.readline(_LONGEST):
            yield line
            while len(line) == _LONGEST and not line.endswith("\n"):
                line = text.readline(_LONGEST)
    finally:
        text.detach()  # or it would close the input, which is not its own


def _unreadable(log: str, error: OSError) -> HandledError:
    if isinstance(error, IsADirectoryError):
        return HandledError(f"{log} is a folder, not a log", f"a model repository: tbsdk check {log}")
    reason = error.strerror or str(error)
    return HandledError(f"cannot read {_named(log)}: {reason}", "name a file, or - for the input")


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
    told = Counter[str]()
    for number, finding in enumerate(explanation.findings, 1):
        told[finding.id] += 1
        if told[finding.id] > _SHOWN_ALIKE:
            continue
        if number > 1 or any(about):
            _line(Text())
        _show_finding(number, finding)
    if explanation.led_to and explanation.findings:
        _line(Text("\nwhich led to"))
        for finding in explanation.led_to:
            _row(_lines(finding.lines), finding.what)
    more = sum(count - _SHOWN_ALIKE for count in told.values() if count > _SHOWN_ALIKE)
    if more:
        _line(Text(f"\nand {more} more of the same kinds: --json has them all"))
    if explanation.passed_over:
        _line(Text(f"\n{explanation.passed_over} further messages were passed over: mend these first"))
    if explanation.is_fine:
        _line(Text("\nnothing is wrong" if explanation.findings else "nothing is wrong", "green"))


def _show_finding(number: int, finding: Finding) -> None:
    style = _STYLES[finding.severity]
    _line(Text(f"{number}. ") + Text(finding.severity, style) + Text(f"  {finding.what}", "bold"))
    _row(_lines(finding.lines), _first_line(finding.said))
    _show_where(finding)
    for line, text in finding.around:
        _row(f"  {line}", text[:_SAID], "dim")
    if finding.id == "unknown":
        _row("why", "this is none of the errors that tbsdk knows; the lines around it may tell more")
    if finding.why:
        _row("why", finding.why)
    for index, step in enumerate(finding.do):
        _row("" if index else "do", step)
    if finding.rule:
        _row("check", f"{finding.rule}: tbsdk check finds it before a start")


def _show_where(finding: Finding) -> None:
    if len(finding.models) > 1:
        more = len(finding.models) - _SHOWN_MODELS
        names = ", ".join(finding.models[:_SHOWN_MODELS])
        _row("models", names + (f" and {more} more" if more > 0 else ""))
    if finding.at:
        _row("at", finding.at)


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
