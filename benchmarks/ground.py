"""Where the backends under measurement lie, and the commands that measure them."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from benchmarks.rows import GRPC, Peer, Row


@dataclass(frozen=True)
class Ground:
    """A folder with ``lib`` and ``backends`` as in /opt/tritonserver, and two repositories per peer."""

    root: Path
    perf_analyzer: Path
    env: dict[str, str]

    @property
    def backends(self) -> Path:
        """Give the backend directory."""
        return self.root / "backends"

    @property
    def client(self) -> Path:
        """Give our own load generator."""
        return self.root / "client"

    def repository(self, peer: Peer) -> Path:
        """Give the repository of the models that perf_analyzer measures."""
        return self.root / "models" / peer.key

    def client_repository(self, peer: Peer) -> Path:
        """Give the repository of the models that our own client measures."""
        return self.root / "client-models" / peer.key

    def input_data(self, row: Row) -> Path:
        """Give the file that tells perf_analyzer how many answers to ask for; it is written here."""
        file = self.root / f"{row.key}.json"
        file.write_text(json.dumps({"data": [{"IN": [row.responses]}]}), encoding="utf-8")
        return file

    def command(self, row: Row, peer: Peer, grpc_url: str | None) -> list[str]:
        """Give the command of a cell, without how long and where to report."""
        pin = [shutil.which("taskset") or "taskset", "--cpu-list", str(pinned_cpu())] if row.pinned else []
        if row.own_client:
            places = [str(self.client_repository(peer)), str(self.backends)]
            tensor = [row.model.datatype, str(row.model.elements)]
            return [*pin, str(self.client), *places, *tensor, str(row.responses), str(row.concurrency)]
        command = [*pin, str(self.perf_analyzer), "-m", row.model.name, *row.arguments]
        command += ["--concurrency-range", str(row.concurrency)]
        if row.responses:
            command += ["--input-data", str(self.input_data(row))]
        if row.service == GRPC:
            return [*command, "-i", "grpc", "-u", str(grpc_url)]
        in_process = ["--service-kind", "triton_c_api", "--triton-server-directory", str(self.root)]
        return [*command, *in_process, "--model-repository", str(self.repository(peer))]


def pinned_cpu() -> int:
    """Give the core that pinned rows run on: the last, since the first takes most of the interrupts."""
    return max(os.sched_getaffinity(0))
