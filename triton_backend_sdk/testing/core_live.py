"""What Triton and a test hold of each other."""

from __future__ import annotations

import threading


class Live:
    """Counts the objects that came and have not gone; all zero means that nothing leaked."""

    def __init__(self) -> None:
        self._counts = {"requests": 0, "answers": 0, "responses": 0, "buffers": 0, "traces": 0}
        self._changed = threading.Condition()

    def add(self, kind: str, number: int) -> None:
        """Count objects that came (or, negative, went)."""
        with self._changed:
            self._counts[kind] += number
            self._changed.notify_all()

    def counts(self) -> dict[str, int]:
        """Give the numbers of live objects by kind."""
        with self._changed:
            return dict(self._counts)

    def wait_none(self, timeout: float) -> bool:
        """Wait until nothing is alive; False when that did not happen in time (seconds)."""
        with self._changed:
            return self._changed.wait_for(lambda: not any(self._counts.values()), timeout)
