"""Which flags a tritonserver has: its own help says so."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.installation import ServerInstallation
from triton_backend_sdk.tools.process import output_of
from triton_backend_sdk.tools.server_errors import next_step, status_text
from triton_backend_sdk.tools.server_options.flags import Flag

_FLAG = re.compile(r"  --([a-z0-9-]+)")
HELP_LIMIT_S = 30.0


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


def known_flags(binary: Path, env: Mapping[str, str] | None = None) -> frozenset[str]:
    """Give the names of all flags that a tritonserver has, from its help (50 ms, once per file).

    :param env: the server's environment.
    :raises HandledError: it does not run, or its help is no help.
    """
    place = (binary, binary.stat().st_mtime_ns)
    if place not in _KNOWN:
        _KNOWN[place] = help_flags(binary, env)
    return _KNOWN[place]


_KNOWN: dict[tuple[Path, int], frozenset[str]] = {}


def help_flags(binary: Path, env: Mapping[str, str] | None) -> frozenset[str]:
    """Ask a tritonserver for its help, and give the flags in it.

    :raises HandledError: it does not run, or its help is no help.
    """
    # It prints its help to stderr and ends with status 1.
    status, lines = output_of([str(binary), "--help"], env, HELP_LIMIT_S)
    found = frozenset(match[1] for match in map(_FLAG.match, lines) if match)
    if "model-repository" in found:
        return found
    if status is None:
        raise HandledError(f"{binary} --help did not end in {HELP_LIMIT_S:.0f} s", "is it a tritonserver?")
    if cannot := [line for line in lines if line.startswith("error: cannot run ")]:
        raise HandledError(cannot[0].removeprefix("error: "), "tbsdk doctor")
    raise HandledError(
        f"{binary} --help names no flags ({status_text(status)})",
        next_step(lines) or "is it a tritonserver?",
        details=lines[-5:],
    )


def check_flags(
    server: ServerInstallation, flags: Iterable[Flag], env: Mapping[str, str] | None = None
) -> None:
    """Hold flags against what a tritonserver has.

    :param env: the server's environment.
    :raises UnsupportedFlagError: it lacks one; the error says since when there is one.
    """
    known = known_flags(server.binary, env)
    for flag in flags:
        if flag.name not in known:
            raise UnsupportedFlagError(flag.name, flag.since, server.version)
