"""A tritonserver's log, line by line: messages with their numbers, and what its tables tell."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from triton_backend_sdk.tools.server_log import text_of

_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
# What tools put before each line: docker compose `triton-1  | `, kubectl --prefix `[pod/p/c] `, and the time
# of `docker logs -t` or kubectl --timestamps.
_COMPOSE = re.compile(r"^[A-Za-z0-9][\w.-]*\s*\| ")
_POD = re.compile(r"^\[pod/[^\]]+\] ")
_TIME = re.compile(r"^\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d) ")
# `E1120 19:32:51.259091 5064 main.cc:257] text`; in ISO8601 `2026-11-20T19:32:51Z E 5064 main.cc:257] text`.
_RECORD = re.compile(
    r"^(?:(?P<glog>[IWEF])\d{4} \d\d:\d\d:\d\d\.\d+|\d{4}-\d\d-\d\dT[\d:.]+Z (?P<iso>[IWEF]))"
    r"\s+\d+\s+[\w.+/-]+:\d+\]"
)
_BANNER = re.compile(r"== Triton (?:Inference )?Server ==|creating server:|tritonserver: ")
_FRAME = re.compile(r"^\s*\d+# ")
_RULE = re.compile(r"^\+-[-+]*\+$")
_CODE = r"(?:Internal|Invalid argument|Not found|Unavailable|Unsupported|Unknown|Already exists)(?:: | - )"
# Triton's own words, and those of a backend of this SDK.
_ABOUT = re.compile(
    r"^(?:(?:failed to load (?:model )?|Poll failed for model directory |failed to poll model )"
    r"'(?P<model>[^']+)'(?: version -?\d+)?: |triton: (?P<one>.+?): model_\w+ failed: "
    r"|triton: (?P<instance>.+?)(?:_\d+){1,2}: instance_\w+ failed: )"
)
_PREFIX = re.compile(rf"^(?:[Ee]rror: |ERROR: |creating server: |{_CODE})+")
_PROTOBUF = re.compile(r"^\[libprotobuf ERROR [^\]]+\] ")
_CONFIG = re.compile(r"Error parsing text-format \S+: ")
_OPTION = re.compile(r'^Bad option: "[^"]*"\.$')
_TRACEBACK = "Traceback (most recent call last):"
_LOADING = re.compile(r"^loading: (?P<model>.+):(?P<version>-?\d+)$")
_LOADED = re.compile(
    r"^(?:successfully loaded|failed to load) '(?P<model>.+?)'(?: version (?P<version>-?\d+))?"
)
_USAGE = "Usage: tritonserver"
_USAGE_LINE = re.compile(r"^\s|^$|^For --|.*:$")
_SAID = ("error: ", "Error: ", "ERROR: ")


@dataclass(frozen=True)
class Record:
    """A message."""

    line: int
    #: I, W, E or F; "" where the line has none.
    level: str
    text: str
    #: The model that it is about.
    model: str | None = None

    @property
    def reason(self) -> str:
        """The text without what only says which model failed."""
        return _PREFIX.sub("", _ABOUT.sub("", self.text, count=1)).strip()

    @property
    def is_error(self) -> bool:
        """Whether it is one by itself, known or not."""
        return self.level in {"E", "F"} or (not self.level and self.text.startswith(_SAID))


@dataclass
class Log:
    """A log that was read."""

    records: list[Record] = field(default_factory=list)
    #: The lines as they are, for those around a message.
    lines: list[str] = field(default_factory=list)
    #: Whether any line of it is tritonserver's.
    is_tritonserver: bool = False
    #: Rows of the table of options.
    options: dict[str, str] = field(default_factory=dict)
    #: Loads that neither ended well nor badly: model and version to the line on which it began.
    pending: dict[tuple[str, str], int] = field(default_factory=dict)

    @property
    def version(self) -> tuple[int, ...] | None:
        """The server's version."""
        numbers = re.findall(r"\d+", self.options.get("server_version", ""))
        return tuple(map(int, numbers)) or None

    @property
    def is_strict(self) -> bool:
        """Whether it says that configs are taken as they are written."""
        return self.options.get("strict_model_config") == "1"


def read(lines: Iterable[str]) -> Log:
    """Read a log; its lines may come from docker, compose or kubectl."""
    log = Log()
    table: list[tuple[int, list[str]]] = []
    usage = False
    for number, raw in enumerate(lines, 1):
        log.lines.append(raw)
        line = _plain(raw)
        if table and not line.startswith(("|", "+-")):
            _read_table(log, table)
            table = []
        if line.startswith("|"):
            table.append((number, [cell.strip() for cell in line.strip().strip("|").split("|")]))
        elif not _RULE.match(line.strip()):
            usage = line.startswith(_USAGE) or (usage and bool(_USAGE_LINE.match(line)))
            if usage:
                log.is_tritonserver = True
            else:
                _read_line(log, number, line)
    _read_table(log, table)
    return log


def _plain(raw: str) -> str:
    line = _ANSI.sub("", raw.rstrip("\r\n"))
    if line.startswith('{"log":'):  # docker's json-file
        try:
            line = str(json.loads(line)["log"]).rstrip("\r\n")
        except (ValueError, KeyError):
            return line
    for prefix in (_POD, _COMPOSE):
        line = prefix.sub("", line, count=1)
    return line if _RECORD.match(line) else _TIME.sub("", line, count=1)


def _read_line(log: Log, number: int, line: str) -> None:
    found = _RECORD.match(line)
    level = (found["glog"] or found["iso"]) if found else ""
    log.is_tritonserver = log.is_tritonserver or found is not None or bool(_BANNER.search(line))
    # gRPC and the stub write the text without quotes, and not every file is a .cc
    text = text_of("x.cc:1] " + line[found.end() :].strip()) if found else _PROTOBUF.sub("", line.strip())
    last = log.records[-1] if log.records else None
    if last is not None and (_FRAME.match(line) or _goes_on(last.text, text)):
        log.records[-1] = replace(last, text=f"{last.text}\n{text}", model=last.model or _model(text))
        return
    if not text or (level and text.startswith(" ")):
        return  # rows of a traceback, into which another thread has written
    log.records.append(Record(number, level, text, _model(text)))
    if level == "I" and (loading := _LOADING.match(text)):
        log.pending[loading["model"], loading["version"]] = number
    elif loaded := _LOADED.match(text):
        for load in [load for load in log.pending if loaded["version"] in (None, load[1])]:
            if load[0] == loaded["model"]:
                del log.pending[load]


def _goes_on(said: str, text: str) -> bool:
    """Tell whether a text belongs to the message before it."""
    if _OPTION.match(said):
        return bool(text)
    if _CONFIG.search(said):
        return "failed to read text proto from " in text and "\n" not in said
    _, traceback, frames = said.partition(_TRACEBACK)
    # The first line that is not indented is the exception itself, and the last.
    return text == _TRACEBACK or (
        bool(traceback) and all(row.startswith(" ") for row in frames.split("\n")[1:])
    )


def _model(text: str) -> str | None:
    about = _ABOUT.match(text)
    return (about["model"] or about["one"] or about["instance"]) if about else None


def _read_table(log: Log, rows: list[tuple[int, list[str]]]) -> None:
    if not rows:
        return
    head = rows[0][1]
    if head[:2] == ["Option", "Value"]:
        log.options.update({row[0]: row[1] for _, row in rows[1:] if len(row) > 1 and row[0]})
        log.is_tritonserver = True
    elif head == ["Model", "Version", "Status"]:
        log.is_tritonserver = True
        for line, (name, version, status) in _whole(rows[1:]):
            log.pending.pop((name, version), None)
            if not status.startswith("UNAVAILABLE: "):
                continue
            text = f"failed to load '{name}' version {version}: {status.removeprefix('UNAVAILABLE: ')}"
            log.records.append(Record(line, "E", text, name))


def _whole(rows: list[tuple[int, list[str]]]) -> Iterator[tuple[int, tuple[str, str, str]]]:
    """Put rows together that the table has broken into several lines."""
    whole: list[tuple[int, list[str]]] = []
    for line, row in rows:
        first, second = [*row, "", ""][:2]
        rest = "|".join(row[2:])
        if first or not whole:
            whole.append((line, [first, second, rest]))
        else:
            whole[-1][1][2] += f"\n{rest}"
    return ((line, (row[0], row[1], row[2].rstrip())) for line, row in whole)
