"""Python's logging, written to Triton's log at the matching level."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from triton_backend_sdk.enums import LogLevel

if TYPE_CHECKING:
    from triton_backend_sdk._ffi.api import Api


class TritonLogHandler(logging.Handler):
    """Hand each record to Triton. See TRITONSERVER_LogMessage."""

    def __init__(self, api: Api) -> None:
        super().__init__()
        self._api = api
        self.setFormatter(logging.Formatter("%(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record, line by line as Triton escapes newlines; DEBUG is Triton's verbose level."""
        try:
            for line in self.format(record).splitlines():
                self._api.log(LogLevel.of(record.levelno), record.filename, record.lineno, line)
        except Exception:
            self.handleError(record)


def install(api: Api) -> None:
    """Send the log to Triton: all of it in a server, the backends' own where Python is the host's."""
    target = logging.getLogger() if api.lib.tb_owns_interpreter() else logging.getLogger("triton")
    if not any(isinstance(handler, TritonLogHandler) for handler in target.handlers):
        target.addHandler(TritonLogHandler(api))
    target.setLevel(logging.DEBUG if api.log_is_enabled(LogLevel.VERBOSE) else logging.INFO)
    logging.captureWarnings(bool(api.lib.tb_owns_interpreter()))
