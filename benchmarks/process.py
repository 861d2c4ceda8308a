"""Run a load generator to its end, or end it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.process import BoundProcess


def run(what: str, command: Sequence[str], env: Mapping[str, str], limit_s: float) -> list[str]:
    """Run a command, and give the lines that it printed.

    :param what: its name for people.
    :raises HandledError: it failed or did not end; its last lines are shown.
    """
    process, deadline = BoundProcess(command, env=env), time.monotonic() + limit_s
    try:
        while (status := process.poll()) is None and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        process.kill()  # and what it left: in-process, the stock backend's stub is its child
    lines = [line for line in process.lines() if line.strip()]
    if status is None:
        raise HandledError(
            f"{what} did not end within {limit_s:.0f} s: {' '.join(command)}", details=lines[-8:]
        )
    if status:
        raise HandledError(f"{what} failed with status {status}: {' '.join(command)}", details=lines[-8:])
    return lines
