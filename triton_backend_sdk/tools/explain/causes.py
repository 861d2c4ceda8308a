"""The causes that causes.toml tells, and which of them fits a message."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found,unused-ignore]  # the backport, on 3.10 only

Severity = Literal["error", "warning", "note"]
#: What differs between messages of one kind, and matters to no pattern: large numbers, addresses, hashes.
_VARYING = re.compile(r"\b(?!0)(?=[a-f]*\d)[0-9a-f]{4,}\b|[1-9]\d{3,}")
_NUMBERED = re.compile(r"^(?P<name>[a-z_]+)\d$")


@dataclass(frozen=True)
class Cause:
    """A row of the table; causes.toml says what each field is."""

    id: str
    says: tuple[re.Pattern[str], ...]
    what: str
    severity: Severity = "error"
    why: str | None = None
    do: tuple[str, ...] = ()
    rule: str | None = None
    also: bool = False
    follows: bool = False
    hides: tuple[str, ...] = ()
    only: Literal["strict", "old"] | None = None
    info: bool = False

    def match(self, text: str) -> dict[str, str] | None:
        """Give the groups of the pattern that fits, or None."""
        for pattern in self.says:
            found = pattern.search(text)
            if found is not None:
                return _groups(found.groupdict())
        return None


def _groups(found: Mapping[str, str | None]) -> dict[str, str]:
    """Give the groups that took part; path2 is another pattern's path."""
    groups = {}
    for name, value in found.items():
        if value is not None:
            numbered = _NUMBERED.match(name)
            groups[numbered["name"] if numbered else name] = value.strip()
    return groups


@functools.cache
def causes() -> tuple[Cause, ...]:
    """Give the table."""
    text = resources.files(__package__).joinpath("causes.toml").read_text(encoding="utf-8")
    return tuple(_cause(row) for row in tomllib.loads(text)["cause"])


def _cause(row: dict[str, Any]) -> Cause:
    row = {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
    return Cause(**{**row, "says": tuple(map(re.compile, row["says"]))})


def candidates(text: str, level: str) -> tuple[Cause, ...]:
    """Give the causes that can fit a message; of level I few are looked at."""
    return _candidates(_VARYING.sub("1111", text), level == "I")


@functools.lru_cache(maxsize=8192)  # a log says few things, each many times
def _candidates(shape: str, is_info: bool) -> tuple[Cause, ...]:
    return tuple(
        cause
        for cause in causes()
        if (cause.info or cause.follows or not is_info) and cause.match(shape) is not None
    )
