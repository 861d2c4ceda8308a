"""What the benchmark needs beside the server: NVIDIA's perf_analyzer, and a Python for the stock backend."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.paths import cache_dir

# Not the newest: the last tritonclient wheel whose perf_analyzer runs without a GPU driver's libraries.
PERF_ANALYZER_VERSION = "2.44.0"
_PERF_ANALYZER_HASH = "ed8a64ecbb7594ea196dfdc9678d6356b24fdf484995f53400004a195ef33749"
_PERF_ANALYZER_MEMBER = f"tritonclient-{PERF_ANALYZER_VERSION}.data/data/bin/perf_analyzer"
#: The sonames that perf_analyzer asks for, and the files of the server wheel that are these libraries.
_PERF_ANALYZER_LIBRARIES = {"libb64.so.0d": "libb64-*.so.0d", "libcudart.so.12": "libcudart-*.so.12*"}

_PIP_LIMIT_S = 900.0


def perf_analyzer(server: Path) -> Path:
    """Fetch perf_analyzer unless it is in the cache, and give its path; ``lib`` beside it is what it needs.

    :param server: the fetched server's folder, which holds the libraries that perf_analyzer lacks.
    :raises HandledError: pip cannot fetch the wheel, or the wheel has another hash.
    """
    directory = cache_dir() / f"perf_analyzer-{PERF_ANALYZER_VERSION}"
    program = directory / "perf_analyzer"
    if not program.exists():
        directory.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".perf-", dir=directory.parent) as name:
            tree = _unpack_perf_analyzer(Path(name))
            shutil.rmtree(directory, ignore_errors=True)
            tree.rename(directory)
    _link_libraries(directory / "lib", server / "lib")
    return program


def _unpack_perf_analyzer(work: Path) -> Path:
    (work / "wheel.txt").write_text(
        f"tritonclient=={PERF_ANALYZER_VERSION} --hash=sha256:{_PERF_ANALYZER_HASH}\n", encoding="utf-8"
    )
    requirement, options = str(work / "wheel.txt"), ("--no-deps", "--only-binary=:all:")
    _pip(sys.executable, "download", *options, "-r", requirement, "-d", str(work))
    wheel = next(work.glob("tritonclient-*.whl"))
    tree = work / "tree"
    with zipfile.ZipFile(wheel) as archive:
        archive.extract(_PERF_ANALYZER_MEMBER, work)
    tree.mkdir()
    program = (work / _PERF_ANALYZER_MEMBER).rename(tree / "perf_analyzer")
    program.chmod(0o755)
    return tree


def _link_libraries(links: Path, libraries: Path) -> None:
    links.mkdir(exist_ok=True)
    for name, pattern in _PERF_ANALYZER_LIBRARIES.items():
        link = links / name
        if not link.exists():
            link.unlink(missing_ok=True)
            link.symlink_to(next(libraries.glob(pattern)))


def stock_python() -> Path:
    """Make the virtual environment of the stock backend unless it is in the cache, and give its folder.

    The stub takes the first ``python3`` on PATH for its own, and works in the environment of that one.
    NumPy must be older than 2: with a newer one the stock backend of 24.10 answers with empty tensors.

    :raises HandledError: this Python has no shared library, or no such NumPy.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if sys.version_info >= (3, 13):
        raise HandledError(
            f"the stock Python backend needs a NumPy older than 2, and there is none for Python {version}",
            "run the benchmark with Python 3.10, 3.11 or 3.12",
        )
    directory = cache_dir() / f"stock-python-{version}"
    directory.parent.mkdir(parents=True, exist_ok=True)
    with directory.with_name(f"{directory.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of several processes, as those of pytest, one makes it
        _make_stock_python(directory)
    return directory


def _make_stock_python(directory: Path) -> None:
    if not (directory / "ready").exists():
        shutil.rmtree(directory, ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(directory)], "making a virtual environment")
        _pip(str(directory / "bin" / "python3"), "install", "--only-binary=:all:", "numpy<2")
        (directory / "ready").touch()


def libpython_directory() -> Path:
    """Give the folder where the running Python's shared library lies, which the stub is linked to."""
    return Path(sysconfig.get_config_var("LIBDIR") or "/usr/lib")


def _pip(python: str, command: str, *arguments: str) -> None:
    quiet = ("--quiet", "--no-input", "--disable-pip-version-check")
    _run([python, "-m", "pip", command, *quiet, *arguments], f"pip {command} {arguments[-1]}")


def _run(command: list[str], what: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=_PIP_LIMIT_S, check=False)
    if done.returncode:
        lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        raise HandledError(f"{what} failed", "look at pip's index and network", details=lines[-6:])
