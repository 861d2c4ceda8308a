"""TCP ports of loopback: free ones, and those that a process really has."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping
from pathlib import Path

LOOPBACK = "127.0.0.1"


def is_free(port: int, address: str = LOOPBACK) -> bool:
    """Say whether a server could listen on a port of this machine now; 0: on any at that address."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        # As servers do: a port whose last connections still linger is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def choose_ports(given: Mapping[str, int | None]) -> dict[str, int]:
    """Give each name its port, a free one where none is given. Another process may still take it first."""
    with contextlib.ExitStack() as held:  # all at once, so that they differ

        def free() -> int:
            while True:
                probe = held.enter_context(socket.socket())
                probe.bind((LOOPBACK, 0))
                port = int(probe.getsockname()[1])
                if port not in given.values():
                    return port

        return {name: port if port is not None else free() for name, port in given.items()}


def listening_ports(pid: int) -> set[int]:
    """Give the TCP ports on which a process listens; none when it is gone."""
    sockets, ports = set(), set()
    with contextlib.suppress(OSError):
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                sockets.add(os.readlink(entry.path))
        for table in ("tcp", "tcp6"):
            for line in Path(f"/proc/{pid}/net/{table}").read_text(encoding="ascii").splitlines()[1:]:
                fields = line.split()
                # Columns: sl, local address, remote address, state (0A = LISTEN), ..., inode.
                if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                    ports.add(int(fields[1].rpartition(":")[2], 16))
    return ports
