"""EXECUTION_ENV_PATH: a Python environment that a model brings along."""

from __future__ import annotations

import itertools
import lzma
import re
import site
import sys
import tarfile
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from triton_backend_sdk import Model

PARAMETER = "EXECUTION_ENV_PATH"
_LIBRARY = re.compile(r"(?:\./)?(?:.*/)?lib/python(\d+\.\d+)/")
#: An archive of gigabytes is not read to its end only to say what is in it.
_LOOK_SECONDS = 2.0
_OWN = f"{sys.version_info.major}.{sys.version_info.minor}"


@dataclass(frozen=True)
class Environment:
    """What a model's EXECUTION_ENV_PATH names."""

    path: Path
    #: Of its Python, such as 3.11; None where it cannot be told.
    version: str | None
    #: The folder of its packages, where this Python can use them.
    packages: Path | None

    def adopt(self) -> bool:
        """Add its packages to this process's sys.path, behind all that is there; tell whether it can be done.

        They are there for all models: a package is loaded once in a process.
        """
        if self.packages is None:
            return False
        if str(self.packages) not in sys.path:
            site.addsitedir(str(self.packages))
        return True

    def __str__(self) -> str:
        """Say what becomes of it."""
        named = f"{PARAMETER} {self.path}"
        if self.packages is not None:
            return f"the packages of {named} are on sys.path, for all models and behind the server's own"
        if self.version == _OWN:
            return (
                f"{named} is not used, as an archive is not unpacked here: unpack it and name the folder, or "
                "install its packages for the server's Python"
            )
        has = f"has Python {self.version}" if self.version else "has no Python that can be told"
        return (
            f"{named} {has if self.path.exists() else 'is not there'}, and the model runs in the server's "
            f"Python {_OWN}: install what it imports there, or use the stock Python backend"
        )


def environment(model: Model) -> Environment | None:
    """Give the environment that a model's config names."""
    named = model.parameters.get(PARAMETER, "")
    if not named:
        return None
    path = Path(named.replace("$$TRITON_MODEL_DIRECTORY", str(model.directory)))
    version = _folder_version(path) if path.is_dir() else _archive_version(path)
    packages = path / "lib" / f"python{_OWN}" / "site-packages"
    return Environment(path, version, packages if version == _OWN and packages.is_dir() else None)


def _folder_version(path: Path) -> str | None:
    """Give the version of the Python in a folder: this one's, where it has several."""
    found = sorted(
        entry.name.removeprefix("python") for entry in path.glob("lib/python3.*") if entry.is_dir()
    )
    return _OWN if _OWN in found else next(iter(found), None)


def _archive_version(path: Path) -> str | None:
    if not path.is_file():
        return None
    until = time.monotonic() + _LOOK_SECONDS
    try:
        with tarfile.open(path) as archive:
            for member in itertools.takewhile(lambda _: time.monotonic() < until, archive):
                if found := _LIBRARY.match(member.name):
                    return found[1]
    except (OSError, EOFError, tarfile.TarError, zlib.error, lzma.LZMAError):
        pass  # no archive, or a broken one: it says nothing
    return None
