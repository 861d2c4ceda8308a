"""The one exception that a command reports without a traceback."""

from __future__ import annotations

from collections.abc import Sequence


class HandledError(Exception):
    """Something the user can mend: what was looked for and where, and what to type next."""

    def __init__(self, message: str, next_step: str | None = None, *, details: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        #: A command or an action, in the imperative.
        self.next_step = next_step
        #: Lines of evidence below the message, as the tool that failed wrote them.
        self.details = tuple(details)
