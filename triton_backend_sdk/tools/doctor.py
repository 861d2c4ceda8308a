"""What this machine has and lacks for writing, building and running backends; each lack with its mend."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

from triton_backend_sdk._ffi.builder import BuildError, check_headers, find_compiler
from triton_backend_sdk.tools.build import find_libpython
from triton_backend_sdk.tools.doctor_finding import Finding
from triton_backend_sdk.tools.doctor_machine import check_container, check_driver, check_limits, check_stub
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.installation import find_server
from triton_backend_sdk.tools.paths import cache_dir

#: Oldest and newest Python that the SDK is tested with.
OLDEST, NEWEST = (3, 10), (3, 13)
#: Packages without which nothing is built or run, and the oldest version of each.
REQUIRED = {"cffi": "1.16", "numpy": "1.26", "pluggy": "1.5"}
#: Packages that one feature needs: what to tell pip, and the feature.
OPTIONAL = {
    "ml_dtypes": ("ml_dtypes", "BF16 tensors"),
    "tritonclient": ("'tritonclient[grpc,http]'", "tbsdk infer"),
    "pytest": ("pytest", "testing a project"),
}

__all__ = ["CHECKS", "Finding", "examine"]

SHM = Path("/dev/shm")  # noqa: S108  the system's shared memory, not a scratch file
_DOCKERS_SHM = 64 << 20


def examine() -> Iterator[Finding]:
    """Look at everything, one after the other; never raises, a look that breaks is a finding too."""
    for name, look in CHECKS:
        try:
            yield from look()
        except (OSError, subprocess.SubprocessError) as error:
            yield Finding(name, "warn", f"could not be looked at: {error}")


def check_python() -> Iterator[Finding]:
    """Tell whether this Python is one that the SDK is tested with."""
    running, detail = sys.version_info[:2], f"{sys.version.split()[0]} ({sys.executable})"
    mend = f"make a virtual environment of Python {_dotted(NEWEST)}"
    if running < OLDEST:
        yield Finding("Python", "fail", f"{detail}; {_dotted(OLDEST)} or newer is needed", mend)
    elif running > NEWEST:
        yield Finding("Python", "warn", f"{detail}; nothing newer than {_dotted(NEWEST)} was tested", mend)
    else:
        yield Finding("Python", "ok", detail)


def check_libpython() -> Iterator[Finding]:
    """Tell whether Python comes as a shared library, which Triton's process loads."""
    try:
        soname, folder = find_libpython()
    except HandledError as error:
        yield Finding("libpython", "fail", error.message, error.next_step)
    else:
        yield Finding("libpython", "ok", str(folder / soname))


def check_compiler() -> Iterator[Finding]:
    """Compile an extension module of one line: compiler, C library and Python's headers at once."""
    try:
        compiler, include = find_compiler(), check_headers()
    except BuildError as error:
        message, _, mend = str(error).partition("; type: ")
        yield Finding("C compiler", "fail", message, mend or None)
        return
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "probe.c"
        source.write_text("#include <Python.h>\nint probe(void) { return PY_VERSION_HEX != 0; }\n")
        result = _run(*compiler, "-shared", "-fPIC", f"-I{include}", str(source), "-o", f"{source}.so")
    if result.returncode == 0:
        yield Finding("C compiler", "ok", f"{shutil.which(compiler[0])}, with Python.h in {include}")
        return
    fault = next(
        (line for line in result.stderr.splitlines() if "error" in line), result.stderr.strip()[-200:]
    )
    yield Finding(
        "C compiler", "fail", f"{compiler[0]} cannot compile: {fault}", "apt-get install gcc libc6-dev"
    )


def check_packages() -> Iterator[Finding]:
    """Tell the versions of the packages that the SDK uses."""
    for name, oldest in REQUIRED.items():
        version, mend = _installed(name), f"python -m pip install '{name}>={oldest}'"
        if version is None:
            yield Finding(name, "fail", "not installed", mend)
        elif _numbers(version) < _numbers(oldest):
            yield Finding(name, "fail", f"{version}; {oldest} or newer is needed", mend)
        else:
            yield Finding(name, "ok", version)
    for name, (requirement, feature) in OPTIONAL.items():
        version = _installed(name)
        if version is None:
            yield Finding(
                name, "warn", f"not installed: for {feature}", f"python -m pip install {requirement}"
            )
        else:
            yield Finding(name, "ok", version)


def check_server() -> Iterator[Finding]:
    """Tell which tritonserver the commands and fixtures take."""
    try:
        server = find_server()
    except HandledError as error:
        yield Finding("tritonserver", "warn", error.message, "tbsdk server install")
        return
    detail = f"{server.version or 'version unknown'} ({server.origin}: {server.binary})"
    if server.library is None:
        yield Finding(
            "tritonserver", "warn", f"{detail}; no libtritonserver.so with it", "tbsdk server install"
        )
    else:
        yield Finding("tritonserver", "ok", detail)


def check_shared_memory() -> Iterator[Finding]:
    """Tell the size of /dev/shm, through which clients on this machine can pass tensors."""
    name = str(SHM)
    if not SHM.is_dir():
        detail = "not there: clients cannot pass tensors through shared memory"
        yield Finding(name, "warn", detail, f"mount -t tmpfs shm {SHM}")
        return
    usage = shutil.disk_usage(SHM)
    if usage.total <= _DOCKERS_SHM:
        detail = f"{usage.total >> 20} MiB, Docker's default: little for clients that pass tensors through it"
        yield Finding(name, "warn", detail, "docker run --shm-size=1g ...")
    elif usage.free < _DOCKERS_SHM:
        free = f"{usage.free >> 20} of {usage.total >> 20} MiB are free"
        mend = f"rm {SHM}/triton_python_backend_shm_region_*, while no server runs"
        yield Finding(name, "warn", f"{free}: servers that were killed leave theirs behind", mend)
    else:
        yield Finding(name, "ok", f"{usage.total >> 20} MiB")


def check_gpu() -> Iterator[Finding]:
    """Tell the GPUs; a machine without one lacks nothing."""
    if shutil.which("nvidia-smi"):
        result = _run("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")
        if result.returncode == 0 and result.stdout.strip():
            yield Finding("GPU", "ok", "; ".join(result.stdout.strip().splitlines()))
        else:
            said = (result.stdout + result.stderr).strip().partition("\n")[0]
            yield Finding("GPU", "warn", f"nvidia-smi failed: {said}", "install NVIDIA's driver again")
    elif any(Path("/dev").glob("nvidia[0-9]*")):
        yield Finding("GPU", "ok", "there is /dev/nvidia*, but no nvidia-smi to tell its name")
    else:
        yield Finding("GPU", "ok", "none: models run on the CPU (instance_group kind KIND_CPU)")


def check_folders() -> Iterator[Finding]:
    """Tell whether what is fetched or compiled can be written and run where it goes."""
    for name, variable, folder in (
        ("cache folder", "TBSDK_CACHE_DIR", cache_dir()),
        ("temporary folder", "TMPDIR", Path(tempfile.gettempdir())),
    ):
        existing = next(path for path in (folder, *folder.parents) if path.is_dir())
        mend = f"export {variable}=A_FOLDER_OF_YOURS"
        if os.statvfs(existing).f_flag & os.ST_NOEXEC:
            yield Finding(name, "warn", f"{folder} is mounted noexec: nothing there can be run", mend)
        elif not os.access(existing, os.W_OK):
            yield Finding(name, "warn", f"{folder} cannot be written", mend)
        else:
            yield Finding(name, "ok", str(folder))


def check_library_path() -> Iterator[Finding]:
    """Tell whether LD_LIBRARY_PATH puts another libpython before ours."""
    version = sysconfig.get_python_version()
    folders = [entry for entry in os.environ.get("LD_LIBRARY_PATH", "").split(":") if entry]
    others = [
        str(path)
        for folder in folders
        for path in sorted(Path(folder).glob("libpython3.*.so*"))
        if not path.name.startswith(f"libpython{version}.so")
    ]
    if others:
        detail = f"holds another Python than {version}: {', '.join(others)}"
        yield Finding("LD_LIBRARY_PATH", "warn", detail, "unset LD_LIBRARY_PATH, or take that folder out")
    else:
        yield Finding("LD_LIBRARY_PATH", "ok", ":".join(folders) or "not set")


#: The checks in the order in which a lack stops a newcomer.
CHECKS: tuple[tuple[str, Callable[[], Iterator[Finding]]], ...] = (
    ("Python", check_python),
    ("libpython", check_libpython),
    ("C compiler", check_compiler),
    ("packages", check_packages),
    ("tritonserver", check_server),
    ("GPU", check_gpu),
    ("CUDA driver", check_driver),
    (str(SHM), check_shared_memory),
    ("limits", check_limits),
    ("container", check_container),
    ("Python stub", check_stub),
    ("folders", check_folders),
    ("LD_LIBRARY_PATH", check_library_path),
)


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
