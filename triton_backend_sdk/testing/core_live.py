"""What Triton and a test hold of each other."""

from __future__ import annotations

import threading
import time
from pathlib import Path


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


def let_threads_rest(timeout: float = 0.5) -> None:
    """Wait until no other thread of this process is running or about to, for at most ``timeout`` seconds.

    After the last of its requests is released a thread of Triton's writes into the very list that the end of
    its model instance reads, without a lock: on a busy machine an unload that follows at once crashes.
    """
    own = str(threading.get_native_id())
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline and any(
        thread.name != own and _state(thread) == "R" for thread in Path("/proc/self/task").iterdir()
    ):
        time.sleep(0.001)


def _state(thread: Path) -> str:
    try:
        return (thread / "stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):  # it has ended
        return ""
