"""What the machine grants a tritonserver: driver, limits, container, and the stock Python backend's stub."""

from __future__ import annotations

import ctypes
import os
import re
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from triton_backend_sdk.tools.check.libraries import unresolved
from triton_backend_sdk.tools.doctor_finding import Finding
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.installation import STUB, ServerInstallation, find_server

DEVICES = Path("/dev")
CGROUP = Path("/sys/fs/cgroup")
#: Files that engines leave in their containers.
MARKS = {"docker": Path("/.dockerenv"), "podman": Path("/run/.containerenv")}
_ENGINES = ("docker", "podman")
_ENGINE_SECONDS = 10.0
#: What lets a container use the engine of its host.
_SOCKET = "-v /var/run/docker.sock:/var/run/docker.sock"
_GIB = 1 << 30
#: Below these a server with some models and clients meets its limits.
_FILES, _LOCKED, _STACK, _MEMORY, _PROCESSES = 4096, 64 << 20, 8 << 20, _GIB, 1024
#: What control groups of version 1 write where nothing is limited is near the largest number.
_NO_LIMIT = 1 << 60
_RUNTIME = re.compile(r"^libcudart(?:-[0-9a-f]+)?\.so\.(\d+)\.(\d+)")


def check_driver() -> Iterator[Finding]:
    """Tell which CUDA the driver is for, and whether that will do for the server."""
    has_gpu = any(DEVICES.glob("nvidia[0-9]*"))
    driver = cuda_of_driver()
    if driver is None:
        if has_gpu:
            detail = f"there is {DEVICES}/nvidia*, but no libcuda.so.1 that works: no model can use a GPU"
            mend = "docker run --gpus=all ... (with NVIDIA's container toolkit), or install the driver again"
            yield Finding("CUDA driver", "warn", detail, mend)
        else:
            yield Finding("CUDA driver", "ok", "none: a server here warns of that, and runs on the CPU")
        return
    detail, wanted = f"CUDA {_dotted(driver)}", cuda_of_server()
    if wanted is not None and driver[0] < wanted[0]:
        yield Finding(
            "CUDA driver",
            "warn",
            f"{detail}, but the server was built with CUDA {_dotted(wanted)}: it will run on the CPU only",
            "install a newer driver on the host, or take an older image of Triton",
        )
    else:
        yield Finding("CUDA driver", "ok", detail)


def cuda_of_driver() -> tuple[int, int] | None:
    """Ask the driver for the newest CUDA that it knows."""
    version = ctypes.c_int(0)
    try:
        status = ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(version))
    except (OSError, AttributeError):
        return None
    return None if status or not version.value else (version.value // 1000, version.value % 1000 // 10)


def cuda_of_server() -> tuple[int, int] | None:
    """Tell the CUDA that lies beside the server."""
    server = _server()
    if server is None or server.library is None:
        return None
    places = (server.library.parent, Path("/usr/local/cuda/lib64"))
    names = (path.name for place in places if place.is_dir() for path in place.iterdir())
    found = [match for name in names for match in [_RUNTIME.match(name)] if match]
    return max(((int(match[1]), int(match[2])) for match in found), default=None)


def check_limits() -> Iterator[Finding]:
    """Tell how many files may be open, how much memory may be locked, and how deep stacks may be."""
    rows = (
        ("open files", resource.RLIMIT_NOFILE, _FILES, "-n", "nofile=65536:65536", 65536),
        ("locked memory", resource.RLIMIT_MEMLOCK, _LOCKED, "-l", "memlock=-1", "unlimited"),
        ("stack", resource.RLIMIT_STACK, _STACK, "-s", "stack=67108864", 65536),
    )
    for name, kind, least, letter, flag, value in rows:
        soft = resource.getrlimit(kind)[0]
        told = "unlimited" if soft == resource.RLIM_INFINITY else _amount(soft, kind)
        if soft == resource.RLIM_INFINITY or soft >= least:
            yield Finding(name, "ok", told)
        elif name == "locked memory" and not any(DEVICES.glob("nvidia[0-9]*")):
            yield Finding(name, "ok", f"{told}: little, but only GPUs ask for it")
        else:
            mend = f"ulimit {letter} {value}, or docker run --ulimit {flag} ..."
            yield Finding(name, "warn", f"{told}: little for a server with many clients or models", mend)


def check_container() -> Iterator[Finding]:
    """Tell whether this is a container, what it may use, and which engine there is to make one."""
    yield from _check_inside()
    found = [name for name in _ENGINES if shutil.which(name)]
    if not found:
        yield Finding(
            "container engine", "ok", "none here: tbsdk dockerfile still writes what builds an image"
        )
    for name in found:
        result = _run(name, "version", "--format", "{{.Client.Version}} {{.Server.Version}}")
        if result is not None and result.returncode == 0:
            yield Finding("container engine", "ok", f"{name} {result.stdout.split()[-1]}")
        else:
            said = (
                "no answer" if result is None else (result.stderr + result.stdout).strip().partition("\n")[0]
            )
            mend = f"start its service, or add yourself to its group: systemctl start {name}"
            if _engine_around():
                mend = f"use {name} on the host; or, with docker there, start this container with {_SOCKET}"
            yield Finding("container engine", "warn", f"{name} does not work: {said}", mend)


def _engine_around() -> str | None:
    """Tell what runs the container that this is; None where it is none."""
    kubernetes = "Kubernetes" if "KUBERNETES_SERVICE_HOST" in os.environ else None
    return next((name for name, mark in MARKS.items() if mark.exists()), kubernetes)


def _check_inside() -> Iterator[Finding]:
    inside = _engine_around()
    memory = _limit("memory.max", "memory/memory.limit_in_bytes")
    processes = _limit("pids.max", "pids/pids.max")
    limits = []
    if memory is not None:
        limits.append(f"{memory / _GIB:.1f} GiB of memory")
    if processes is not None:
        limits.append(f"{processes} processes and threads")
    detail = f"inside one ({inside})" if inside else "not inside one"
    detail += f", limited to {' and '.join(limits)}" if limits else ""
    if memory is not None and memory < _MEMORY:
        mend = "docker run --memory=4g ..., or resources.limits.memory"
        yield Finding("container", "warn", f"{detail}: the system ends a server that needs more", mend)
    elif processes is not None and processes < _PROCESSES:
        yield Finding(
            "container", "warn", f"{detail}: math libraries start many", "docker run --pids-limit=-1 ..."
        )
    else:
        yield Finding("container", "ok", detail)


def check_stub() -> Iterator[Finding]:
    """Tell whether the stock Python backend can start: where its stub lacks a library, some servers hang."""
    server = _server()
    if server is None or server.backends is None or not (server.backends / "python").is_dir():
        return
    stub = server.backends / "python" / STUB
    serve = "tbsdk serve --compat REPOSITORY runs its models without it"
    if not stub.is_file():
        yield Finding("Python stub", "ok", f"none in {stub.parent}: {serve}")
    elif not os.access(stub, os.X_OK):
        yield Finding("Python stub", "warn", f"{stub} cannot be executed", f"chmod +x {stub}")
    elif lacks := unresolved(stub):
        detail = f"{stub} lacks {', '.join(lacks)}: a server would wait for it for ever"
        yield Finding("Python stub", "warn", detail, f"{_stub_mend(lacks[0])}; or: {serve}")
    else:
        yield Finding("Python stub", "ok", str(stub))


def _stub_mend(lack: str) -> str:
    if lack.startswith("GLIBC"):
        return "take the stub of a server that was built for this system, or an older one"
    package = re.match(r"libpython(\d+\.\d+)", lack)
    install = f"apt-get install libpython{package[1]}" if package else f"find {lack}"
    return f"{install}, or set LD_LIBRARY_PATH to its folder"


def _server() -> ServerInstallation | None:
    try:
        return find_server()
    except HandledError:
        return None


def _limit(*names: str) -> int | None:
    """Read a limit of this control group; None where there is none."""
    for name in names:
        try:
            text = (CGROUP / name).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if text.isdigit() and int(text) < _NO_LIMIT:
            return int(text)
    return None


def _run(*command: str) -> subprocess.CompletedProcess[str] | None:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=_ENGINE_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None


def _amount(number: int, kind: int) -> str:
    return str(number) if kind == resource.RLIMIT_NOFILE else f"{number / (1 << 20):g} MiB"


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
