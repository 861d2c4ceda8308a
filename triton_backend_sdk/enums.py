"""Triton's small enums under their own names, less the prefix."""

from __future__ import annotations

import enum
import logging


class MemoryType(enum.IntEnum):
    """Where a buffer lies. See TRITONSERVER_MemoryType."""

    CPU = 0
    CPU_PINNED = 1
    GPU = 2


class InstanceGroupKind(enum.IntEnum):
    """What an instance runs on. See TRITONSERVER_InstanceGroupKind."""

    AUTO = 0
    CPU = 1
    GPU = 2
    MODEL = 3


class ExecutionPolicy(enum.IntEnum):
    """How Triton calls a backend's instances. See TRITONBACKEND_ExecutionPolicy."""

    #: Each instance has a thread of Triton's, which waits for ``execute``.
    BLOCKING = 0
    #: The instances of one GPU share a thread.
    DEVICE_BLOCKING = 1


class LogLevel(enum.IntEnum):
    """A level of Triton's log. See TRITONSERVER_LogLevel."""

    INFO = 0
    WARN = 1
    ERROR = 2
    VERBOSE = 3

    @classmethod
    def of(cls, level: int) -> LogLevel:
        """Give the level for one of Python's logging; DEBUG is Triton's verbose."""
        if level >= logging.ERROR:
            return cls.ERROR
        if level >= logging.WARNING:
            return cls.WARN
        return cls.INFO if level >= logging.INFO else cls.VERBOSE


class MetricKind(enum.IntEnum):
    """See TRITONSERVER_MetricKind."""

    COUNTER = 0
    GAUGE = 1
    HISTOGRAM = 2

    @property
    def word(self) -> str:
        """Its name in a sentence."""
        return self.name.lower()


class RequestFlag(enum.IntFlag):
    """What a request is within its sequence. See TRITONSERVER_RequestFlag."""

    NONE = 0
    SEQUENCE_START = 1
    SEQUENCE_END = 2
