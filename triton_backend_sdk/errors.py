"""Triton's error codes as Python exceptions, and Python's exceptions as Triton error codes.

::

    Exception
    └── TritonError                          code
        ├── UnknownError                     UNKNOWN
        ├── InternalError    RuntimeError    INTERNAL
        ├── NotFoundError    KeyError        NOT_FOUND
        ├── InvalidArgError  ValueError      INVALID_ARG
        ├── UnavailableError                 UNAVAILABLE
        ├── UnsupportedError NotImplementedError  UNSUPPORTED
        ├── AlreadyExistsError               ALREADY_EXISTS
        └── CancelledError                   CANCELLED

Raising one of them answers the request with that code (HTTP 500, 404, 400, 503, 501 as Triton maps them).
"""

import functools
from typing import ClassVar


class TritonError(Exception):
    """An error that reaches the client with a Triton code. See TRITONSERVER_ErrorNew."""

    #: Value of TRITONSERVER_Error_Code.
    code: ClassVar[int] = 1
    #: Where a call raised it: the called model that answered so; "" where the call was refused.
    model: str = ""

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message


class UnknownError(TritonError):
    """TRITONSERVER_ERROR_UNKNOWN."""

    code = 0


class InternalError(TritonError, RuntimeError):
    """TRITONSERVER_ERROR_INTERNAL: the backend is at fault."""

    code = 1


class NotFoundError(TritonError, KeyError):
    """TRITONSERVER_ERROR_NOT_FOUND: a name that does not exist."""

    code = 2


class InvalidArgError(TritonError, ValueError):
    """TRITONSERVER_ERROR_INVALID_ARG: the client is at fault."""

    code = 3


class UnavailableError(TritonError):
    """TRITONSERVER_ERROR_UNAVAILABLE: not now, perhaps later."""

    code = 4


class UnsupportedError(TritonError, NotImplementedError):
    """TRITONSERVER_ERROR_UNSUPPORTED: not by this backend."""

    code = 5


class AlreadyExistsError(TritonError):
    """TRITONSERVER_ERROR_ALREADY_EXISTS."""

    code = 6


class CancelledError(TritonError):
    """TRITONSERVER_ERROR_CANCELLED: the client no longer waits."""

    code = 7


#: Code to class; every member of TRITONSERVER_Error_Code is here.
CLASSES: dict[int, type[TritonError]] = {
    cls.code: cls
    for cls in (
        UnknownError,
        InternalError,
        NotFoundError,
        InvalidArgError,
        UnavailableError,
        UnsupportedError,
        AlreadyExistsError,
        CancelledError,
    )
}


@functools.cache
def _builtin_codes() -> tuple[tuple[type[BaseException], int], ...]:
    """Give the natural code of builtin exceptions, most specific first; anything else is INTERNAL.

    TypeError, KeyError and IndexError stay INTERNAL: they are the plugin author's mistakes, not the client's.
    """
    import asyncio  # noqa: PLC0415  slow to import, and needed only here
    from concurrent import futures  # noqa: PLC0415  as above

    return (
        (FileNotFoundError, NotFoundError.code),
        (FileExistsError, AlreadyExistsError.code),
        (TimeoutError, UnavailableError.code),
        (futures.TimeoutError, UnavailableError.code),  # another class than the builtin before Python 3.11
        (asyncio.TimeoutError, UnavailableError.code),
        (ConnectionError, UnavailableError.code),
        (BlockingIOError, UnavailableError.code),
        (MemoryError, UnavailableError.code),
        (NotImplementedError, UnsupportedError.code),
        (ValueError, InvalidArgError.code),
        (asyncio.CancelledError, CancelledError.code),
        (futures.CancelledError, CancelledError.code),
    )


def from_code(code: int, message: str) -> TritonError:
    """Make the exception of a TRITONSERVER_Error_Code."""
    return CLASSES[code](message)


def describe(error: BaseException) -> tuple[int, str]:
    """Give the code and the message with which an exception reaches the client.

    A TritonError speaks for itself; any other exception is named, as its message alone often says too little.
    """
    if isinstance(error, TritonError):
        return error.code, error.message or type(error).__name__
    code = next((code for cls, code in _builtin_codes() if isinstance(error, cls)), InternalError.code)
    text = str(error)
    return code, f"{type(error).__name__}: {text}" if text else type(error).__name__
