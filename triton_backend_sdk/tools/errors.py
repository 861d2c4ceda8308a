"""The one exception that a command reports without a traceback; in a traceback its text has all of it."""

from __future__ import annotations

import copyreg
from collections.abc import Sequence
from typing import Any


class HandledError(Exception):
    """Something the user can mend: what was looked for and where, and what to type next."""

    def __init__(self, message: str, next_step: str | None = None, *, details: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        #: A command or an action, in the imperative.
        self.next_step = next_step
        #: Lines of evidence below the message, as the tool that failed wrote them.
        self.details = tuple(details)

    def __str__(self) -> str:
        step = f" ({self.next_step})" if self.next_step else ""
        return "\n  ".join((f"{self.message}{step}", *self.details))

    def __reduce__(self) -> tuple[Any, ...]:
        # Those of BaseException call __init__ with the message alone.
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]
