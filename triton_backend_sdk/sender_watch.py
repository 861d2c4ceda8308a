"""Response senders that are lost in a reference cycle, found by garbage collection.

A sender that is dropped answers its request. One in a cycle is dropped when Python collects, which an idle
server never does, while a client waits. So while senders are open there is a collection now and then.
"""

from __future__ import annotations

import gc
from functools import partial
from typing import Any

from triton_backend_sdk.caretaker import Caretaker

#: Seconds until the first collection, and between later ones at most; each waits twice as long as the last.
_FIRST_S, _LONGEST_S = 1.0, 60.0


class SenderWatch:
    """Collects while senders are open.

    :param hot: the C module, which knows how many are.
    """

    def __init__(self, hot: Any, caretaker: Caretaker) -> None:
        self._hot = hot
        self._caretaker = caretaker
        hot.watch_senders(partial(self._wait, _FIRST_S))

    def _wait(self, seconds: float) -> None:
        self._caretaker.call_later(seconds, partial(self._look, seconds))

    def _look(self, seconds: float) -> None:
        if self._hot.count_senders():
            gc.collect()
        if self._hot.count_senders():
            self._wait(min(2 * seconds, _LONGEST_S))
