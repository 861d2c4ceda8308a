"""A tritonserver's log, line by line: messages with their numbers, and what its tables tell."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from triton_backend_sdk.tools.server_log import CODE, ENSEMBLE, text_of

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
#: What a server writes before it opens its repositories.
_BEGINNING = re.compile(r"[Pp]inned (?:system )?memory|CUDA memory pool|CudaDriverHelper|CacheManager")
_BANNER = re.compile(
    r"== Triton (?:Inference )?Server ==|creating server:|tritonserver: |Failed to build Triton option"
)
_FRAME = re.compile(r"^\s*\d+# ")
_RULE = re.compile(r"^\+-[-+]*\+$")
# Triton's own words, and those of a backend of this SDK.
_ABOUT = re.compile(
    r"^(?:(?:failed to load (?:model )?|Poll failed for model directory |failed to poll model )"
    r"'(?P<model>[^']+)'(?: version -?\d+)?: |triton: (?P<one>.+?): model_\w+ failed: "
    r"|triton: (?P<instance>.+?)(?:_\d+){1,2}: instance_\w+ failed: )"
)
_ENSEMBLE = re.compile(ENSEMBLE)
_PREFIX = re.compile(rf"^(?:[Ee]rror: |ERROR: |creating server: |{CODE}|\[request id: <id_unknown>\] )+")
_PROTOBUF = re.compile(r"^\[libprotobuf ERROR [^\]]+\] ")
_CONFIG = re.compile(r"Error parsing text-format \S+: ")
_OPTION = re.compile(r'^Bad option: "[^"]*"\.$')
#: The driver's complaint of a container, and an exception whose what() follows.
_HALF = re.compile(
    r"NVIDIA Driver Release [\d.]+ or later, but$|^terminate called after throwing an instance of"
)
_TRACEBACK = "Traceback (most recent call last):"
_LOADING = re.compile(r"^loading: (?P<model>.+):(?P<version>-?\d+)$")
_LOADED = re.compile(
    r"^(?:successfully loaded|failed to load) '(?P<model>.+?)'(?: version (?P<version>-?\d+))?"
)
_USAGE = "Usage: tritonserver"
_USAGE_LINE = re.compile(r"^\s|^$|^For --|.*:$")
_SAID = ("error: ", "Error: ", "ERROR: ")


#: Of a message with more than that the rest is passed over.
_LONGEST = 1 << 14
#: So many different messages are kept; a log has more only where something fails with each request.
_MOST = 20_000
_AROUND = 2


@dataclass
class Record:
    """A message."""

    #: Where it is said, from 1; more than once where it says the same again.
    lines: list[int]
    #: I, W, E or F; "" where the line has none.
    level: str
    text: str
    #: The model that it is about.
    model: str | None = None
    #: Of an error: the lines around it, with their numbers.
    around: list[tuple[int, str]] = field(default_factory=list)

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

    #: Those that were worth keeping, each once.
    records: list[Record] = field(default_factory=list)
    #: How many more were, when there were too many.
    passed_over: int = 0
    #: The last message, kept or not.
    last: Record | None = None
    #: Whether any line of it is tritonserver's.
    is_tritonserver: bool = False
    #: Whether there is no more in it than what a server says before it opens its repositories.
    hardly_begun: bool = True
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


class Reader:
    """Reads a log, whose lines may come from docker, compose or kubectl, and keeps little of it."""

    def __init__(self, is_worth_keeping: Callable[[Record], bool]) -> None:
        self.log = Log()
        self._is_worth_keeping = is_worth_keeping
        self._open: Record | None = None
        self._kept: dict[tuple[str, str, str | None], Record] = {}
        self._number = 0
        self._recent: deque[tuple[int, str]] = deque(maxlen=_AROUND)
        self._errors: deque[Record] = deque(maxlen=_AROUND)
        self._table: list[tuple[int, list[str]]] = []
        self._in_usage = False

    def line(self, raw: str) -> None:
        """Read the next line."""
        self._number += 1
        raw = raw.rstrip("\r\n")
        while self._errors and self._errors[0].lines[0] < self._number - _AROUND:
            self._errors.popleft()
        for error in self._errors:
            error.around.append((self._number, raw))
        self._line(_plain(raw), raw)
        self._recent.append((self._number, raw))

    def end(self) -> Log:
        """Give what was read."""
        self._end_table()
        self._end_record()
        return self.log

    def _line(self, line: str, raw: str) -> None:
        if line.startswith("|"):
            self._table.append((self._number, [cell.strip() for cell in line.strip().strip("|").split("|")]))
            return
        if line.startswith("+-") and _RULE.match(line.strip()):
            return
        self._end_table()
        self._in_usage = line.startswith(_USAGE) or (self._in_usage and bool(_USAGE_LINE.match(line)))
        if self._in_usage:
            self.log.is_tritonserver = True
        else:
            self._message(line, raw)

    def _message(self, line: str, raw: str) -> None:
        log, found = self.log, _RECORD.match(line)
        level = (found["glog"] or found["iso"]) if found else ""
        log.is_tritonserver = log.is_tritonserver or found is not None or bool(_BANNER.search(line))
        # gRPC and the stub write the text without quotes, and not every file is a .cc
        text = text_of("x.cc:1] " + line[found.end() :].strip()) if found else _PROTOBUF.sub("", line.strip())
        before = self._open
        if before is not None and (_FRAME.match(line) or _goes_on(before.text, text)):
            if len(before.text) < _LONGEST:
                before.text += f"\n{text}"
                before.model = before.model or _model(text)
            return
        if not text or (level and text.startswith(" ")):
            return  # rows of a traceback, into which another thread has written
        self._end_record()
        record = self._open = log.last = Record([self._number], level, text[:_LONGEST], _model(text))
        if record.is_error:
            record.around = [*self._recent, (self._number, raw)]
            self._errors.append(record)
        self._follow_load(record)

    def _follow_load(self, record: Record) -> None:
        pending = self.log.pending
        if record.level == "I" and (loading := _LOADING.match(record.text)):
            pending[loading["model"], loading["version"]] = record.lines[0]
        elif pending and (loaded := _LOADED.match(record.text)):
            for load in [load for load in pending if loaded["version"] in (None, load[1])]:
                if load[0] == loaded["model"]:
                    del pending[load]

    def _end_record(self) -> None:
        if self._open is not None:
            self._keep(self._open)
            self._open = None

    def _keep(self, record: Record) -> None:
        log = self.log
        log.hardly_begun = (
            log.hardly_begun and bool(record.level) and _BEGINNING.search(record.text) is not None
        )
        if not self._is_worth_keeping(record):
            return
        key = record.level, record.text, record.model
        if key in self._kept:
            self._kept[key].lines += record.lines
        elif len(log.records) < _MOST:
            self._kept[key] = record
            log.records.append(record)
        else:
            log.passed_over += 1

    def _end_table(self) -> None:
        if not self._table:
            return
        self._end_record()
        (_, head), *rows = self._table
        self._table = []
        if head[:2] == ["Option", "Value"]:
            self.log.options.update({row[0]: row[1] for _, row in rows if len(row) > 1 and row[0]})
            self.log.is_tritonserver = True
        elif head == ["Model", "Version", "Status"]:
            self.log.is_tritonserver = True
            for line, (name, version, status) in _whole(rows):
                self.log.pending.pop((name, version), None)
                if status.startswith("UNAVAILABLE: "):
                    reason = status.removeprefix("UNAVAILABLE: ")
                    self._keep(
                        Record([line], "E", f"failed to load '{name}' version {version}: {reason}", name)
                    )


def read(lines: Iterable[str], is_worth_keeping: Callable[[Record], bool] = lambda record: True) -> Log:
    """Read a log."""
    reader = Reader(is_worth_keeping)
    for line in lines:
        reader.line(line)
    return reader.end()


def _plain(raw: str) -> str:
    if _RECORD.match(raw) and "\x1b" not in raw:
        return raw
    # As a terminal shows it: bars of progress are written over and over, and logs that were cut have holes.
    line = _ANSI.sub("", raw.strip("\0").rpartition("\r")[2])
    if line.startswith('{"log":'):  # docker's json-file
        try:
            line = str(json.loads(line)["log"]).rstrip("\r\n")
        except (ValueError, KeyError):
            return line
        line = _ANSI.sub("", line)
    for prefix in (_POD, _COMPOSE):
        line = prefix.sub("", line, count=1)
    return line if _RECORD.match(line) else _TIME.sub("", line, count=1)


def _goes_on(said: str, text: str) -> bool:
    """Tell whether a text belongs to the message before it."""
    if _OPTION.match(said):
        return bool(text)
    if _HALF.search(said):
        return bool(text) and "\n" not in said
    if _CONFIG.search(said):
        return "failed to read text proto from " in text and "\n" not in said
    if text.startswith('  File "') and "SyntaxError: " in said:
        return True
    _, traceback, frames = said.partition(_TRACEBACK)
    # The first line that is not indented is the exception itself, and the last.
    return text == _TRACEBACK or (
        bool(traceback) and all(row.startswith(" ") for row in frames.split("\n")[1:])
    )


def _model(text: str) -> str | None:
    about = _ABOUT.match(text) or _ENSEMBLE.match(text)
    return next(filter(None, about.groups()), None) if about else None


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
