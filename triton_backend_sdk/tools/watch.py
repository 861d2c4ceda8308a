"""Notice that files changed.

Files are looked at again and again, a few times a second: that needs no library, and works on every file
system.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path

_Stamp = tuple[int, int]
_Snapshot = dict[str, _Stamp]
#: Between two looks, and at most this part of the time is spent on looking.
_INTERVAL_S = 0.2
_SHARE = 0.1
#: An editor may write several files, or one in several steps.
_SETTLE_S = 0.05
#: What never comes to rest is taken as it is.
_SETTLE_LIMIT_S = 1.0
#: What changes at as many loads in a row is written by the loads.
_OWN = 3
_PRESENT: _Stamp = (0, 0)


class FileWatch:
    """Files below some folders, and single files: what is new, changed or gone since the last look."""

    def __init__(self, places: Sequence[Path]) -> None:
        self._places = [str(place.resolve()) for place in places]
        self._own: set[str] = set()
        self._at_loads: dict[str, int] = {}
        self._seen = self._look()
        self._next = 0.0

    def changes(self) -> set[Path]:
        """Give what changed, once it changes no more; most calls return at once, with nothing."""
        begin = time.monotonic()
        if begin < self._next:
            return set()
        now = self._look()
        taken = time.monotonic() - begin
        while now != self._seen and time.monotonic() < begin + _SETTLE_LIMIT_S:
            time.sleep(_SETTLE_S)
            later = self._look()
            if later == now:
                break
            now = later
        changed = _difference(self._seen, now)
        self._seen = now
        self._next = time.monotonic() + max(_INTERVAL_S, taken / _SHARE)
        return {Path(path) for path in changed}

    def loaded(self) -> list[Path]:
        """Hear that what changed was loaded; gives files that are watched no more.

        A model may write beside its code: a cache, a log. It would be loaded for that again, without an end.
        """
        during = _difference(self._seen, self._look())
        self._at_loads = {path: self._at_loads.get(path, 0) + 1 for path in during}
        own = [path for path, times in self._at_loads.items() if times >= _OWN]
        self._own.update(own)
        for path in own:
            self._seen.pop(path, None)
            del self._at_loads[path]
        return [Path(path) for path in sorted(own)]

    def _look(self) -> _Snapshot:
        found: _Snapshot = {}
        for place in self._places:
            if os.path.isdir(place):
                _add(found, place, (place,))
            else:
                with contextlib.suppress(OSError):
                    found[place] = _stamp(os.stat(place))
        for path in self._own:
            found.pop(path, None)
        return found


def _difference(before: _Snapshot, now: _Snapshot) -> set[str]:
    return {path for path in now.keys() | before.keys() if now.get(path) != before.get(path)}


def _add(found: _Snapshot, folder: str, entered: tuple[str, ...]) -> None:
    """Put what is in a folder into a snapshot; what is gone meanwhile is not there.

    :param entered: where links have led to on the way: one may lead back.
    """
    try:
        with os.scandir(folder) as here:
            entries = list(here)
    except OSError:
        return
    found[folder] = _PRESENT  # its time changes with what is in it
    for entry in entries:
        # Editors put their own files beside; a name that begins with a dot is one of these.
        if entry.name.startswith(".") or entry.name.endswith(("~", ".log")) or entry.name == "__pycache__":
            continue
        with contextlib.suppress(OSError):
            if not entry.is_dir():
                found[entry.path] = _stamp(entry.stat())
            elif not entry.is_symlink():
                _add(found, entry.path, entered)
            else:
                real = os.path.realpath(entry.path)
                if real not in entered and not f"{os.path.realpath(folder)}/".startswith(f"{real}/"):
                    _add(found, entry.path, (*entered, real))


def _stamp(found: os.stat_result) -> _Stamp:
    return found.st_mtime_ns, found.st_size
