"""Until when a client waits."""

from __future__ import annotations

import time


class Deadline:
    """The moment at which a request's timeout ends, counted from when ``execute`` was called.

    Time that the request spent in Triton's queue is not known to a backend, and not counted. Without a
    timeout it never comes. See TRITONBACKEND_InferenceRequestTimeoutMicroseconds.
    """

    __slots__ = ("_end_ns",)

    def __init__(self, timeout_us: int, start_ns: int) -> None:
        self._end_ns = start_ns + timeout_us * 1000 if timeout_us else None

    def remaining(self) -> float | None:
        """Give the seconds that are left, 0.0 if none are, or None where there is no timeout.

        It is what ``asyncio.timeout``, ``Event.wait`` and socket timeouts take.
        """
        if self._end_ns is None:
            return None
        return max(self._end_ns - time.monotonic_ns(), 0) / 1e9

    @property
    def expired(self) -> bool:
        """Whether the time is over."""
        return self._end_ns is not None and time.monotonic_ns() >= self._end_ns

    def __repr__(self) -> str:
        left = self.remaining()
        return "<Deadline none>" if left is None else f"<Deadline in {left:.3f} s>"
