"""What a model keeps of its requests after their answer becomes the model's own.

Triton unloads a model only when it has all requests back, and the memory of an input is its request's. What
is still there some time after the answer is kept; what a frame has yet to drop is not copied.
"""

from __future__ import annotations

import collections
import logging
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

from triton_backend_sdk.python_backend.response_sender import InferenceResponseSender

#: Seconds between two looks.
_LOOK_S = 0.5
_Look = tuple["weakref.ref[Any]", "weakref.ref[InferenceResponseSender] | None", Callable[[Any], None]]


class Keeper:
    """Looks at what may be kept, on a thread that is there while there is such a thing."""

    def __init__(self) -> None:
        self._looks: collections.deque[_Look] = collections.deque()
        self._lock = threading.Lock()
        self._runs = False

    def add(self, kept: Any, sender: InferenceResponseSender | None, take: Callable[[Any], None]) -> None:
        """Call ``take`` with what is kept, unless it is gone by then, after the sender's last response.

        :param sender: None where execute returned the answer.
        """
        self._looks.append((weakref.ref(kept), None if sender is None else weakref.ref(sender), take))
        with self._lock:
            if not self._runs:
                threading.Thread(target=self._run, name="kept requests", daemon=True).start()
                self._runs = True

    def _run(self) -> None:
        while True:
            time.sleep(_LOOK_S)
            for _ in range(len(self._looks)):
                self._look(self._looks.popleft())
            with self._lock:
                self._runs = bool(self._looks)
                if not self._runs:
                    return

    def _look(self, look: _Look) -> None:
        kept, take = look[0](), look[2]
        sender = None if look[1] is None else look[1]()
        if kept is None:
            return
        if sender is not None and not sender.is_answered():
            self._looks.append(look)
            return
        try:
            take(kept)
        except Exception:
            logging.getLogger("triton").exception("a request that a model keeps cannot be taken from it")


#: The process's.
keeper = Keeper()
