"""The SDK's own loggers: what one model does to Python's logging does not silence them for the others."""

from __future__ import annotations

import logging
from typing import Any


class _Lasting(logging.Logger):
    def __setattr__(self, name: str, value: Any) -> None:
        # logging.config disables every logger that it does not name, unless told otherwise.
        super().__setattr__(name, False if name == "disabled" else value)


def lasting(name: str) -> logging.Logger:
    """Give a logger that ``logging.config`` does not disable."""
    logger = logging.getLogger(name)
    if type(logger) is logging.Logger:
        logger.__class__ = _Lasting
        logger.disabled = False
    return logger
