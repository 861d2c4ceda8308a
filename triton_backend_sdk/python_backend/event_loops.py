"""``asyncio.get_event_loop()`` in a model's files, where no loop runs.

The stock backend runs a model in the main thread of a process, the one thread that is given a loop when it
asks. An ``execute`` that is no coroutine and calls ``get_event_loop().run_until_complete(...)`` relies on it.
"""

from __future__ import annotations

import asyncio


class EventLoops:
    """Loops for the threads that run a model, made when they ask."""

    def __init__(self) -> None:
        self._made: list[asyncio.AbstractEventLoop] = []

    def get_event_loop(self) -> asyncio.AbstractEventLoop:
        """Give the loop that runs in this thread, or the one that belongs to it."""
        try:
            loop = asyncio.get_event_loop()
        except RuntimeError:
            loop = None
        if loop is None or loop.is_closed():  # by a model that this thread ran before
            loop = asyncio.new_event_loop()
            asyncio.set_event_loop(loop)
            self._made.append(loop)
        return loop

    def close(self) -> None:
        """Close them; one that still runs is left to its thread."""
        while self._made:
            loop = self._made.pop()
            if not loop.is_running():
                loop.close()
