"""What goes wrong between a Runner and its server, as exceptions.

::

    TritonError                                the server's answer, by Triton's code: NotFoundError, ...
    ├── UnsupportedError
    │   └── NotSupportedError                  not over this protocol; says which one can
    └── UnavailableError
        └── ServerLostError   ConnectionError  no server answers at the address
            └── ServerEndedError               the server that this Runner started is dead
    StartError (a HandledError)                the server did not start
    TimeoutError                               no answer within client_timeout
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from triton_backend_sdk import errors
from triton_backend_sdk.tools.client_parts import is_gone
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.server_errors import StartError

#: The last lines of a server's log that an error shows.
SHOWN_LINES = 10
#: Models, or versions of one, that an error names.
_NAMED = 10

_GRPC = {
    "UNKNOWN": errors.UnknownError,
    "INTERNAL": errors.InternalError,
    "NOT_FOUND": errors.NotFoundError,
    "INVALID_ARGUMENT": errors.InvalidArgError,
    "UNAVAILABLE": errors.UnavailableError,
    "UNIMPLEMENTED": errors.UnsupportedError,
    "ALREADY_EXISTS": errors.AlreadyExistsError,
    "CANCELLED": errors.CancelledError,
}
#: Triton's HTTP front end has fewer statuses than Triton has codes: 400 is all else.
_HTTP = {
    404: errors.NotFoundError,
    409: errors.AlreadyExistsError,
    499: errors.CancelledError,
    500: errors.InternalError,
    501: errors.UnsupportedError,
    503: errors.UnavailableError,
}


class NotSupportedError(errors.UnsupportedError):
    """The protocol, or this way of running, cannot do that; the message says which one can."""


class ServerLostError(errors.UnavailableError, ConnectionError):
    """No server answers at the address, or it went away during the call."""


class ServerEndedError(ServerLostError):
    """The tritonserver that this Runner started has ended, and nobody stopped it.

    :param returncode: its exit status; -N when signal N ended it.
    :param lines: the last lines of its log.
    """

    def __init__(self, message: str, returncode: int | None, lines: Sequence[str]) -> None:
        self.returncode = returncode
        self.lines = tuple(lines)
        self._given = message, returncode, self.lines
        shown = "\n  ".join(("", *lines[-SHOWN_LINES:]))
        super().__init__(f"{message}; its last lines:{shown}" if lines else message)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._given


def start_error(error: HandledError) -> StartError:
    """Give what keeps a server from being started the class that the failure of its start has."""
    if isinstance(error, StartError):
        return error
    return StartError(error.message, error.next_step, details=error.details)


def not_found(
    error: errors.NotFoundError, model: str, rows: Sequence[dict[str, Any]]
) -> errors.NotFoundError:
    """Say what could have been meant, from the rows of the repository index."""
    ready = [row for row in rows if row.get("state") == "READY"]
    names = sorted({row["name"] for row in ready})
    versions = [str(row["version"]) for row in ready if row["name"] == model]
    close = difflib.get_close_matches(model, names, n=1)
    if versions:
        hint = f"ready are its versions: {', '.join(versions[:_NAMED])}"
    elif close:
        hint = f"did you mean {close[0]!r}?"
    else:
        hint = f"ready are: {', '.join(names[:_NAMED]) or 'no models'}"
    return errors.NotFoundError(f"{error}; {hint}")


def timed_out(
    error: TimeoutError, seconds: float | None, model: str | None, *, is_stream: bool = False
) -> TimeoutError:
    """Say whose answer did not come within the caller's time, if there was one."""
    if seconds is None:
        return error
    if is_stream:
        return TimeoutError(f"the stream{f' of {model}' if model else ''} did not end within {seconds:g} s")
    return TimeoutError(f"no answer from {model or 'the server'} within {seconds:g} s")


def of_grpc(status: str, message: str) -> Exception:
    """Make the exception of a gRPC status, such as ``NOT_FOUND``."""
    if status == "DEADLINE_EXCEEDED":
        return TimeoutError(message)
    if status == "UNAVAILABLE" and is_gone(message):
        return ServerLostError(message)
    return _GRPC.get(status, errors.UnknownError)(message)


def of_http(status: int, message: str) -> Exception:
    """Make the exception of an HTTP status."""
    return _HTTP.get(status, errors.InvalidArgError)(message)
