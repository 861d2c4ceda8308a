"""Regions of system shared memory that a server on this machine has mapped too, used again and again.

The file of a region is locked as long as its process lives: those of processes that were killed can be told.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import itertools
import mmap
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from triton_backend_sdk.errors import TritonError, UnavailableError

if TYPE_CHECKING:
    import numpy.typing as npt

_FOLDER = Path("/dev/shm")  # noqa: S108  where shm_open(3) of Triton looks
#: Rows of SIMD instructions, and more than any datatype needs.
ALIGNMENT = 64
_SMALLEST = 1 << 16
#: Seconds, and between two looks: a server has use for a region until a moment after it has answered.
_SETTLE_S, _PAUSE_S = 0.2, 0.005
#: Of the names of all regions.
PREFIX = "tbsdk-runner-"
_numbers = itertools.count()


class Region:
    """A piece of shared memory; the file in /dev/shm is gone with :meth:`close`."""

    def __init__(self, size: int) -> None:
        self.name = f"{PREFIX}{os.getpid()}-{next(_numbers)}-{os.urandom(4).hex()}"
        self.key = f"/{self.name}"
        self.size = size
        self._file = _FOLDER / self.name
        descriptor = _create(self._file)
        try:
            # All of it now: memory that is short later would be a SIGBUS.
            os.posix_fallocate(descriptor, 0, size)
            self._map: mmap.mmap | None = mmap.mmap(descriptor, size)
        except OSError as error:
            self._file.unlink()
            room = os.statvfs(_FOLDER)
            raise UnavailableError(
                f"{_FOLDER} has no room for {size >> 10} KiB more, "
                f"{room.f_bavail * room.f_frsize >> 20} MiB are free: {error.strerror}; "
                "containers get more with --shm-size=1g"
            ) from error
        finally:
            os.close(descriptor)

    def array(self, offset: int, array: npt.NDArray[Any]) -> None:
        """Copy an array there, once, whatever its strides."""
        target = np.frombuffer(self._map, array.dtype, array.size, offset).reshape(array.shape)  # type: ignore[arg-type]
        np.copyto(target, array)

    def bytes(self, offset: int, data: bytes) -> None:
        """Copy bytes there."""
        assert self._map is not None
        self._map[offset : offset + len(data)] = data

    def lend(self, offset: int, size: int, over: Callable[[], None]) -> Any:
        """Give a part of it as a buffer.

        :param over: called when nothing views the buffer any more.
        """
        # Not an array: views of views of an array keep its memory alive, but not the array that is watched.
        part = (ctypes.c_uint8 * size).from_buffer(self._map, offset)  # type: ignore[arg-type]
        weakref.finalize(part, over).atexit = False
        return part

    def close(self) -> None:
        """Take the file away; views keep the memory that they show."""
        with contextlib.suppress(FileNotFoundError):
            self._file.unlink()
        with contextlib.suppress(BufferError):
            if self._map is not None:
                self._map.close()
        self._map = None


def _create(file: Path) -> int:
    while True:
        descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # of the open file: the mapping keeps it
        if os.fstat(descriptor).st_nlink:
            return descriptor
        os.close(descriptor)  # another process swept between the two lines


def sweep() -> None:
    """Take away the files of processes that were killed."""
    for file in _FOLDER.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            descriptor = os.open(file, os.O_RDWR)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                file.unlink()
            finally:
                os.close(descriptor)


def is_left(name: str) -> bool:
    """Say whether a region that a server knows is one of a Runner that is gone."""
    return name.startswith(PREFIX) and not (_FOLDER / name).exists()


class Pool:
    """Regions by size, registered with one server.

    :param register: tells the server of a new region.
    :param unregister: tells it to forget one.
    :param let_go: tells it to forget one that a request may use still; raises where it would not be safe.
    """

    def __init__(
        self,
        register: Callable[[Region], None],
        unregister: Callable[[Region], None],
        let_go: Callable[[Region], None],
    ) -> None:
        self._register = register
        self._unregister = unregister
        self._let_go = let_go
        # Reentrant: memory that is let go during a call gives its region back on the same thread.
        self._lock = threading.RLock()
        self._idle: dict[int, list[Region]] = {}
        #: Those that a request which was given up may use still.
        self._doubtful: deque[Region] = deque()
        self._all: list[Region] = []
        self._closed = False

    def take(self, size: int) -> Region:
        """Give a region of at least so many bytes."""
        # In steps of an eighth or less: few sizes, and little room that nobody needs.
        step = max(_SMALLEST, 1 << max((size - 1).bit_length() - 4, 0))
        rounded = -(-size // step) * step
        with self._lock:
            idle = self._idle.get(rounded)
            if idle:
                return idle.pop()
        self._reclaim()
        try:
            region = Region(rounded)
        except UnavailableError:
            self._reclaim(everything=True)
            self._drop_idle()
            region = Region(rounded)
        try:
            self._register(region)
        except BaseException:
            region.close()
            raise
        with self._lock:
            self._all.append(region)
        return region

    def give_back(self, region: Region) -> None:
        """Take a region that nobody reads or writes any more."""
        with self._lock:
            if not self._closed:
                self._idle.setdefault(region.size, []).append(region)
                return
        region.close()

    def give_up(self, region: Region) -> None:
        """Take a region that the server may use still: it is let go once the server has no use for it."""
        with self._lock:
            if not self._closed:
                self._doubtful.append(region)
                return
        region.close()

    def _reclaim(self, *, everything: bool = False) -> None:
        """Let go of what the server has no use for any more; ``everything``: do not stop where it has one."""
        for _ in range(len(self._doubtful)):
            with self._lock:
                if not self._doubtful:
                    return
                region = self._doubtful.popleft()
            try:
                self._let_go(region)
            except Exception as error:  # anything: it is looked at again, or closed at the end
                with self._lock:
                    self._doubtful.append(region)
                if not (everything and isinstance(error, TritonError)):
                    return
                continue
            with self._lock:
                self._all = [each for each in self._all if each is not region]
            region.close()

    def _drop_idle(self) -> None:
        """Make room: sizes of the past may not be those of the future."""
        sweep()
        with self._lock:
            regions = [region for several in self._idle.values() for region in several]
            self._idle.clear()
            self._all = [region for region in self._all if region not in regions]
        self._forget(regions)

    def close(self) -> None:
        """Forget all regions, here and in the server; results keep the memory that they show."""
        with self._lock:
            self._closed = True
            regions, self._all, self._idle = self._all, [], {}
            self._doubtful.clear()
        self._forget(regions)

    def _forget(self, regions: list[Region]) -> None:
        until = time.monotonic() + _SETTLE_S
        for region in regions:
            with contextlib.suppress(Exception):  # the server may be gone
                while not self._is_forgotten(region):
                    if time.monotonic() > until:
                        break
                    time.sleep(_PAUSE_S)
            region.close()

    def _is_forgotten(self, region: Region) -> bool:
        try:
            self._unregister(region)
        except TritonError as error:
            if "in use" in str(error):
                return False
            raise
        return True
