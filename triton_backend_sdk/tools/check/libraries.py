"""What the system's loader would make of a library."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

#: A library, or a version of one that is there.
_MISSING = re.compile(r"(?m)^\s*(\S+) => not found|: version [`'](\S+?)' not found")
_LIMIT_S = 10.0
#: Where ld.so looks without being told, on the systems that Triton runs on.
_SYSTEM: tuple[str | Path, ...] = (
    "/lib",
    "/usr/lib",
    "/lib64",
    "/usr/lib64",
    "/usr/local/lib",
    *sorted(Path("/usr/lib").glob("*-linux-gnu")),
)


def unresolved(file: Path, env: Mapping[str, str] | None = None) -> list[str]:
    """Give the libraries, and versions of libraries, that a file needs and the loader does not find.

    :param env: the loader's environment; this process's, where it is None.
    """
    try:
        done = subprocess.run(
            ["ldd", file],  # noqa: S607  wherever the system has it
            env=env,
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    found = _MISSING.findall(done.stdout + done.stderr)
    return list(dict.fromkeys(library or version for library, version in found))


def loader_finds(name: str) -> bool:
    """Tell whether the loader finds a library by its bare name."""
    given = os.environ.get("LD_LIBRARY_PATH", "").split(":")
    return any((Path(place) / name).is_file() for place in [*filter(None, given), *_SYSTEM])


def has_symbol(library: Path, name: str) -> bool:
    """Tell whether a library has a symbol of a name among its texts."""
    return b"\0" + name.encode() + b"\0" in library.read_bytes()
