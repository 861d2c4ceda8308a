"""Where each field of a config.pbtxt stands, since protobuf's reader says so only of what it cannot read."""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterator
from typing import Any

#: Names of fields and, where a field repeats, numbers: ("input", 0, "dims").
FieldPath = tuple[str | int, ...]
Position = tuple[int, int]

_TOKEN = re.compile(
    r"""(?:\s|\#[^\n]*)*(?:
    (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    |(?P<word>[A-Za-z_0-9.+-]+)
    |(?P<mark>[\[\]{}<>:,;])
    |(?P<end>\Z))""",
    re.VERBOSE,
)
_OPEN, _CLOSE = "{<", "}>"


def positions(text: str, message: Any) -> dict[FieldPath, Position]:
    """Give line and column of every field of a text that protobuf has read into a message."""
    found: dict[FieldPath, Position] = {}
    _Scanner(text, found).fields((), message.DESCRIPTOR)
    return found


class _Scanner:
    def __init__(self, text: str, found: dict[FieldPath, Position]) -> None:
        self._found = found
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self._tokens = self._scan(text)
        self._next = next(self._tokens)

    @staticmethod
    def _scan(text: str) -> Iterator[tuple[str, str, int]]:
        at = 0
        while (match := _TOKEN.match(text, at)) is not None and match.lastgroup is not None:
            yield match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)
            if match.lastgroup == "end":
                return
            at = match.end()
        yield "end", "", len(text)

    def _take(self) -> tuple[str, str, int]:
        token = self._next
        if token[0] != "end":
            self._next = next(self._tokens)
        return token

    def _position(self, at: int) -> Position:
        line = bisect.bisect_right(self._starts, at)
        return line, at - self._starts[line - 1] + 1

    def fields(self, path: FieldPath, descriptor: Any) -> None:
        """Read fields up to the end of their message."""
        counts: dict[str, int] = {}
        while self._next[0] != "end":
            kind, name, at = self._take()
            if kind == "mark":
                if name in _CLOSE:
                    return
                continue
            field = descriptor.fields_by_name.get(name) if descriptor is not None else None
            self._found.setdefault((*path, name), self._position(at))
            if self._next[1] == ":":
                self._take()
            self._values((*path, name), counts, field)

    def _values(self, path: FieldPath, counts: dict[str, int], field: Any) -> None:
        if self._next[1] != "[":
            self._value(path, counts, field)
            return
        self._take()
        while self._next[0] != "end" and self._next[1] != "]":
            if self._next[1] == ",":
                self._take()
            else:
                self._value(path, counts, field)
        self._take()

    def _value(self, path: FieldPath, counts: dict[str, int], field: Any) -> None:
        name = str(path[-1])
        if field is None or _repeats(field):
            path = (*path, counts.get(name, 0))
            counts[name] = counts.get(name, 0) + 1
        _, text, at = self._next
        self._found.setdefault(path, self._position(at))
        if text in _OPEN and text:
            self._take()
            self.fields(path, None if field is None else field.message_type)
            return
        self._take()
        while self._next[0] == "string":  # adjacent strings are one
            self._take()


def _repeats(field: Any) -> bool:
    repeated = getattr(field, "is_repeated", None)
    if repeated is None:  # protobuf before 6
        repeated = field.label == field.LABEL_REPEATED
    return bool(repeated)
