"""Which flags a tritonserver has: its own help says so."""

from __future__ import annotations

import functools
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.installation import ServerInstallation
from triton_backend_sdk.tools.server_options.flags import Flag

_FLAG = re.compile(r"^  --([a-z0-9-]+)", re.MULTILINE)
_HELP_LIMIT_S = 30.0


class UnsupportedFlagError(HandledError):
    """An option that this tritonserver lacks.

    :param since: the first server version that has the flag.
    """

    def __init__(self, flag: str, since: tuple[int, int], binary_version: str | None) -> None:
        self.flag, self.since, self.binary_version = flag, since, binary_version
        super().__init__(
            f"tritonserver {binary_version or 'of this machine'} has no --{flag}: it came with "
            f"{since[0]}.{since[1]}",
            "leave the option out, or take a newer server",
        )


def known_flags(binary: Path) -> frozenset[str]:
    """Give the names of all flags that a tritonserver has, from its help (20 ms, once per file).

    :raises HandledError: it does not run, or its help is no help.
    """
    return _known_flags(binary, binary.stat().st_mtime_ns)


@functools.cache
def _known_flags(binary: Path, changed: int) -> frozenset[str]:
    try:
        # It prints its help to stderr and ends with status 1.
        done = subprocess.run(
            [binary, "--help"], capture_output=True, text=True, timeout=_HELP_LIMIT_S, check=False
        )
    except OSError as error:
        raise HandledError(f"cannot run {binary}: {error.strerror}", "tbsdk doctor") from error
    except subprocess.TimeoutExpired as error:
        raise HandledError(
            f"{binary} --help did not end in {_HELP_LIMIT_S:.0f} s", "is it a tritonserver?"
        ) from error
    found = frozenset(_FLAG.findall(done.stderr + done.stdout))
    if "model-repository" not in found:
        lines = (done.stderr + done.stdout).splitlines()
        raise HandledError(f"{binary} --help names no flags", "is it a tritonserver?", details=lines[-5:])
    return found


def check_flags(server: ServerInstallation, flags: Iterable[Flag]) -> None:
    """Hold flags against what a tritonserver has.

    :raises UnsupportedFlagError: it lacks one; the error says since when there is one.
    """
    known = known_flags(server.binary)
    for flag in flags:
        if flag.name not in known:
            raise UnsupportedFlagError(flag.name, flag.since, server.version)
