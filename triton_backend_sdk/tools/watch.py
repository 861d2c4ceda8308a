"""Notice that files changed.

Files are looked at again and again, a few times a second: that needs no library, and works on every file
system.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

_Snapshot = dict[Path, tuple[int, int]]
#: Between two looks, and at most this part of the time is spent on looking.
_INTERVAL_S = 0.2
_SHARE = 0.1
#: An editor may write several files, or one in several steps.
_SETTLE_S = 0.05


class FileWatch:
    """Files below some folders, and single files: what is new, changed or gone since the last look."""

    def __init__(self, places: Sequence[Path]) -> None:
        self._places = [place.resolve() for place in places]
        self._seen = self._look()
        self._next = 0.0

    def changes(self) -> set[Path]:
        """Give what changed, once it changes no more; most calls return at once, with nothing."""
        if time.monotonic() < self._next:
            return set()
        begin = time.monotonic()
        now = self._look()
        taken = time.monotonic() - begin
        while now != self._seen:
            time.sleep(_SETTLE_S)
            later = self._look()
            if later == now:
                break
            now = later
        changed = {path for path in now.keys() | self._seen.keys() if now.get(path) != self._seen.get(path)}
        self._seen = now
        self._next = time.monotonic() + max(_INTERVAL_S, taken / _SHARE)
        return changed

    def _look(self) -> _Snapshot:
        return dict(_stats(self._places))


def _stats(places: Iterable[Path]) -> Iterator[tuple[Path, tuple[int, int]]]:
    for place in places:
        if place.is_dir():
            been = set()
            for folder, folders, names in os.walk(place, followlinks=True):
                here = os.path.realpath(folder)
                if here in been:  # a link that leads to a folder above itself
                    folders.clear()
                    continue
                been.add(here)
                yield Path(folder), (0, 0)  # that it is there; its time changes with what is in it
                folders[:] = [name for name in folders if name != "__pycache__" and not name.startswith(".")]
                # Editors put their own files beside; a name that begins with a dot is one of these.
                for name in names:
                    if not name.startswith(".") and not name.endswith("~"):
                        yield from _stat(Path(folder, name))
        else:
            yield from _stat(place)


def _stat(path: Path) -> Iterator[tuple[Path, tuple[int, int]]]:
    with contextlib.suppress(OSError):  # gone meanwhile
        found = path.stat()
        yield path, (found.st_mtime_ns, found.st_size)
