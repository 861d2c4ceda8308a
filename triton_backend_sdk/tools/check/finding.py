"""One thing that is wrong, or odd: which rule says so, where, what the server would say, and the mend."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

#: "error": the server would fail, or every request would; "warning": it goes on, but hardly as meant;
#: "note": worth knowing.
Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Fix:
    """A mend that changes nothing but what is wrong."""

    #: What it does, in words.
    does: str
    apply: Callable[[], None] = field(compare=False)


@dataclass(frozen=True)
class Place:
    """Where in a repository; lines and columns count from 1."""

    path: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        return ":".join(str(part) for part in (self.path, self.line, self.column) if part is not None)


@dataclass(frozen=True)
class Finding:
    """One finding."""

    #: As in C05; `tbsdk check --rules` lists them.
    rule: str
    severity: Severity
    place: Place
    message: str
    #: What to do.
    mend: str
    #: The server's own words, or the part of them that never changes.
    server_says: str | None = None
    #: The model, where it concerns one.
    model: str | None = None
    fix: Fix | None = None
