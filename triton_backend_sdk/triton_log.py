"""Python's logging, written to Triton's log at the matching level."""

from __future__ import annotations

import io
import logging
import sys
from typing import TYPE_CHECKING

from triton_backend_sdk.enums import LogLevel
from triton_backend_sdk.loggers import lasting

if TYPE_CHECKING:
    from triton_backend_sdk._ffi.api import Api

#: The logger under which the SDK's and all models' loggers are.
_OWN = "triton"


class TritonLogHandler(logging.Handler):
    """Hand each record to Triton. See TRITONSERVER_LogMessage."""

    def __init__(self, api: Api, skips: str = "") -> None:
        """Make one.

        :param skips: a logger that has a handler of its own.
        """
        super().__init__()
        self._api = api
        self._skips = skips
        self.setFormatter(logging.Formatter("%(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record, line by line as Triton escapes newlines; DEBUG is Triton's verbose level."""
        if self._skips and (record.name == self._skips or record.name.startswith(f"{self._skips}.")):
            return
        try:
            for line in self.format(record).splitlines():
                self._api.log(LogLevel.of(record.levelno), record.filename, record.lineno, line)
        except Exception:
            self.handleError(record)


def install(api: Api) -> None:
    """Send the log to Triton: all of it in a server, the backends' own where Python is the host's.

    The backends' own has a handler to itself, as a model may replace the root logger's.
    """
    level = logging.DEBUG if api.log_is_enabled(LogLevel.VERBOSE) else logging.INFO
    _handle(lasting(_OWN), TritonLogHandler(api), level)
    if api.lib.tb_owns_interpreter():
        _handle(logging.getLogger(), TritonLogHandler(api, skips=_OWN), level)
        _print_whole_lines()
    logging.captureWarnings(bool(api.lib.tb_owns_interpreter()))


def _print_whole_lines() -> None:
    """Write printed lines whole: unbuffered they are two writes each, and Triton logs in between."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True, write_through=False)


def _handle(logger: logging.Logger, handler: TritonLogHandler, level: int) -> None:
    if not any(isinstance(present, TritonLogHandler) for present in logger.handlers):
        logger.addHandler(handler)
    logger.setLevel(level)
