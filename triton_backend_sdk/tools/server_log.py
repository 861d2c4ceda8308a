"""What tritonserver's log says about a start that failed, and about a stop that takes long."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

# `E1120 19:32:51.259091 5064 model_lifecycle.cc:642] "text"`, or with --log-format=ISO8601
# `2024-10-30T12:00:00Z E 5064 model_lifecycle.cc:642] "text"`; the text is a JSON string.
_RECORD = re.compile(r"^.*?\.cc:\d+\] ?(?P<text>.*)$")
CODE = r"(?:Internal|Invalid argument|Not found|Unavailable|Unsupported|Unknown|Already exists)(?:: | - )"
#: What it says of an ensemble that cannot be.
ENSEMBLE = (
    rf"^{CODE}(?:in )?ensemble '?(?!input|output|tensor)(?P<ensemble>[^' ,]+)"
    rf"|^{CODE}circular .* -> (?P<last>\S+)$"
)
#: What it says of a model that failed; one without a version cannot be read, or has none to serve.
FAILURE = re.compile(
    r"^(?:failed to load (?:model )?|Poll failed for model directory |failed to poll model )"
    rf"'(?P<name>.+?)'(?: version (?P<version>-?\d+))?: |{ENSEMBLE}"
)
_UNREADABLE = re.compile(r"^Poll failed for model directory .*: failed to read text proto from \S+$")
#: The line before that one, of protobuf's.
_PLACE = re.compile(r"^Error parsing text-format \S+: (?P<place>\d+:\d+: .+)$")
_SERVICE = re.compile(r"^failed to start .+ service: ")
_PORT = re.compile(r"Socket '[^']*:(\d+)' already in use")
_LOADING = re.compile(r"^loading: (?P<model>.+):(?P<version>-?\d+)$")
_GONE = re.compile(
    r"^(?:failed to load|successfully unloaded) '(?P<model>.+?)' version (?P<version>-?\d+)(?::|$)", re.DOTALL
)
_WAITING = re.compile(r"^Timeout \d+: Found (?P<live>\d+) live models and 0 in-flight ")
_USAGE = "Usage: tritonserver [options]"
#: What of a log file is looked at, in bytes.
_TAIL = 1 << 20


def size(file: Path | str | None) -> int:
    """Give the size of a log file, 0 where there is none."""
    return Path(file).stat().st_size if file and Path(file).is_file() else 0


def last_lines(file: Path, start: int) -> list[str]:
    """Give the last lines of a log file, none from before ``start``."""
    try:
        with file.open("rb") as log:
            end = log.seek(0, 2)
            log.seek(max(start if start <= end else 0, end - _TAIL))
            return log.read().decode(errors="replace").splitlines()
    except OSError:
        return []  # it could not be written either: tritonserver goes on without it


def text_of(line: str) -> str:
    """Take the prefix and the quoting off a log line; other output is given back as it is."""
    record = _RECORD.match(line)
    text = record["text"].strip() if record else line.strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        try:
            return str(json.loads(text, strict=False))
        except ValueError:
            return text[1:-1]
    return text


def model_failures(lines: Iterable[str]) -> list[str]:
    """Give the sentences about models that failed: ``failed to load 'M' version N: ...``, one per failure.

    That of a config that cannot be read ends with line and column, where the log has them.
    """
    found: dict[str, None] = {}
    before = ""
    for text in map(text_of, lines):
        if FAILURE.match(text):
            place = _PLACE.match(before) if _UNREADABLE.match(text) else None
            sentence = f"{text}:{place['place']}" if place else text
            found.pop(sentence, None)  # of several of one model the last is true
            found[sentence] = None
        before = text
    return list(found)


def waits_in_vain(lines: Iterable[str]) -> bool:
    """Tell whether a server that stops has nothing left to wait for; ``lines`` are all that it has logged.

    Triton never forgets the reload of a model that failed: it waits for it until its exit timeout.
    """
    loaded: Counter[tuple[str, str]] = Counter()
    failed, in_vain = 0, False
    for text in map(text_of, lines):
        if match := _LOADING.match(text):
            loaded[match["model"], match["version"]] += 1
        elif match := _GONE.match(text):
            loaded[match["model"], match["version"]] -= 1
            failed += text.startswith("failed")
        elif match := _WAITING.match(text):
            in_vain = 0 < int(match["live"]) <= failed and not any(loaded.values())
    return in_vain


def port_in_use(lines: Iterable[str]) -> int | None:
    """Give the port that the server could not have, if that is what ended it."""
    found = [match for line in lines for match in [_PORT.search(line)] if match]
    return int(found[-1][1]) if found else None


def start_error(lines: Sequence[str]) -> str | None:
    """Give the one line that says why the server ended before it was ready."""
    texts = [text_of(line) for line in lines]
    for text in reversed(texts):
        if text.startswith("error: "):
            return text.removeprefix("error: ")
        if _SERVICE.match(text):
            return text
    return _flag_error([line.rstrip() for line in lines])


def _flag_error(lines: list[str]) -> str | None:
    """Give the complaint about a flag, which stands before the usage or, as the last paragraph, after it."""
    if _USAGE not in lines:
        return None
    before = lines[: lines.index(_USAGE)]
    if before:
        return before[0].partition("tritonserver: ")[2] or before[0]
    paragraph: list[str] = []
    for line in reversed(lines):
        if line:
            paragraph.insert(0, line.strip())
        elif paragraph:
            break
    return " ".join(paragraph)
