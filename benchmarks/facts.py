"""What the numbers were measured on: enough to compare machines, nothing that identifies one."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

from benchmarks import parts
from benchmarks.ground import Ground
from triton_backend_sdk.tools.server import ServerInstallation


def machine_facts(server: ServerInstallation, ground: Ground) -> dict[str, str]:
    """Give the facts by name, in the order of the report."""
    return {
        "CPU": f"{_cpu_model()}, {len(os.sched_getaffinity(0))} cores",
        "kernel": platform.release(),
        "Python": platform.python_version(),
        "NumPy": f"{version('numpy')} (stock backend: {_stock_numpy(ground)})",
        "triton-backend-sdk": version("triton-backend-sdk"),
        "tritonserver": str(server.version),
        "perf_analyzer": parts.PERF_ANALYZER_VERSION,
    }


def _cpu_model() -> str:
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found.group(1).strip() if found else platform.machine()


def _stock_numpy(ground: Ground) -> str:
    command = ["python3", "-c", "import numpy; print(numpy.__version__)"]
    done = subprocess.run(command, env=ground.env, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.strip()
