"""``Logger`` of ``triton_python_backend_utils``: messages in Triton's log, from the line that writes them."""

from __future__ import annotations

import enum
import logging
import sys
from typing import TYPE_CHECKING, Any, ClassVar

from triton_backend_sdk.python_backend.owner import current
from triton_backend_sdk.python_backend.pb_error import text

if TYPE_CHECKING:
    from triton_backend_sdk import Backend
    from triton_backend_sdk.python_backend.owner import PythonModel


#: Where the stock backend has these classes: models print it.
_MODULE = "c_python_backend_utils"


class LogLevel(enum.Enum):
    """A level of the log."""

    INFO = 0
    WARNING = 1
    ERROR = 2
    VERBOSE = 3

    def __int__(self) -> int:
        return int(self.value)

    __index__ = __int__


LogLevel.__module__ = _MODULE
_LEVELS = {
    LogLevel.INFO: logging.INFO,
    LogLevel.WARNING: logging.WARNING,
    LogLevel.ERROR: logging.ERROR,
    LogLevel.VERBOSE: logging.DEBUG,
}
_Level = LogLevel


class Logger:
    """Writes to Triton's log, with the file and line of the caller."""

    __slots__ = ()
    __module__ = _MODULE

    LogLevel: ClassVar = LogLevel
    INFO: ClassVar = LogLevel.INFO
    WARNING: ClassVar = LogLevel.WARNING
    ERROR: ClassVar = LogLevel.ERROR
    VERBOSE: ClassVar = LogLevel.VERBOSE

    def __new__(cls) -> Logger:
        """Refuse: its methods are all called on the class."""
        raise TypeError(f"{_MODULE}.Logger: No constructor defined!")

    @staticmethod
    def _backend() -> Backend:
        """Give the backend that logs; a model's own utils have a class that knows it."""
        return current().model.backend

    @classmethod
    def log(cls, message: str, level: _Level = LogLevel.INFO) -> None:
        """Write a message.

        :raises TypeError: an argument is of another type.
        """
        if not isinstance(level, LogLevel):
            raise TypeError(
                f"log(): incompatible function arguments: level must be a Logger.LogLevel, not {level!r}"
            )
        cls._write("log", _LEVELS[level], message)

    @classmethod
    def log_info(cls, message: str) -> None:
        """Write a message that informs."""
        cls._write("log_info", logging.INFO, message)

    @classmethod
    def log_warn(cls, message: str) -> None:
        """Write a warning."""
        cls._write("log_warn", logging.WARNING, message)

    @classmethod
    def log_error(cls, message: str) -> None:
        """Write an error."""
        cls._write("log_error", logging.ERROR, message)

    @classmethod
    def log_verbose(cls, message: str) -> None:
        """Write a message that is shown only where Triton logs verbosely (``--log-verbose=1``)."""
        cls._write("log_verbose", logging.DEBUG, message)

    @classmethod
    def _write(cls, function: str, level: int, message: Any) -> None:
        said = text(function, "message", message)
        caller = sys._getframe(2)
        cls._backend().log(level, said, caller.f_code.co_filename, caller.f_lineno)


def names(owner: PythonModel | None) -> dict[str, Any]:
    """Give what the utils module has of this file."""
    if owner is None:
        return {"Logger": Logger}
    backend = owner.model.backend
    space = {"__slots__": (), "__module__": _MODULE, "_backend": staticmethod(lambda: backend)}
    return {"Logger": type("Logger", (Logger,), space)}
