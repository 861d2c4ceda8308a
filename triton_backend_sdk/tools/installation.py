"""Find a tritonserver on this machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.install import server_directory

#: Where NVIDIA's images keep the server.
IMAGE_ROOT = Path("/opt/tritonserver")
#: The environment variable that names a tritonserver, or the folder above its bin.
VARIABLE = "TBSDK_TRITONSERVER"
#: The program that the stock Python backend starts for each of its models; a model may bring its own.
STUB = "triton_python_backend_stub"


@dataclass(frozen=True)
class ServerInstallation:
    """A tritonserver and what belongs to it."""

    binary: Path
    #: libtritonserver.so, or its hashed name in the wheel; None where only the binary was found.
    library: Path | None
    #: The folder of the backends that came with the server.
    backends: Path | None
    #: The folder of the response caches that came with it.
    caches: Path | None
    #: Where it was found, in words.
    origin: str
    #: As in 2.51.0; None where no file says so.
    version: str | None

    @property
    def runs_python(self) -> bool:
        """Whether models of the Python backend can start: it has its stub, or another takes its place."""
        folder = None if self.backends is None else self.backends / "python"
        if folder is None or not (folder / "libtriton_python.so").is_file():
            return False
        return (folder / STUB).is_file() or not (folder / "triton_python_backend_utils.py").is_file()


def find_server(explicit: Path | None = None) -> ServerInstallation:
    """Find a tritonserver: explicit path, $TBSDK_TRITONSERVER, PATH, NVIDIA's image, the fetched one.

    :param explicit: the binary, or the folder above its ``bin``; nothing else is tried then.
    :raises HandledError: none of them is there; the message names every place.
    """
    looked_at = []
    for origin, path in _places(explicit):
        binary = path / "bin" / "tritonserver" if path.is_dir() else path
        if binary.is_file() and os.access(binary, os.X_OK):
            return _describe(binary.absolute(), origin)
        state = "not executable" if binary.is_file() else "not there"
        looked_at.append(f"{origin}: {binary} ({state})")
    raise HandledError(
        "no tritonserver found; looked at " + "; ".join(looked_at),
        "tbsdk server install (fetches one), or name yours with --server",
    )


def _places(explicit: Path | None) -> Iterator[tuple[str, Path]]:
    # A place that the user named is the only one: a silent second choice would hide a typing mistake.
    if explicit is not None:
        yield "given path", explicit.expanduser()
        return
    named = os.environ.get(VARIABLE)
    if named:
        yield f"${VARIABLE}", Path(named).expanduser()
        return
    yield "PATH", Path(shutil.which("tritonserver") or "tritonserver")
    yield "NVIDIA's image", IMAGE_ROOT / "bin" / "tritonserver"
    yield "fetched", server_directory() / "bin" / "tritonserver"


def _describe(binary: Path, origin: str) -> ServerInstallation:
    # Both the path as given and the one behind symlinks: /usr/local/bin/tritonserver may point into a tree.
    roots = list(dict.fromkeys((binary.parent.parent, binary.resolve().parent.parent)))
    return ServerInstallation(
        binary=binary,
        library=next((path for root in roots for path in _libraries(root)), None),
        backends=_folder(roots, "backends"),
        caches=_folder(roots, "caches"),
        origin=origin,
        version=next(filter(None, map(_version, roots)), None),
    )


def _folder(roots: list[Path], name: str) -> Path | None:
    return next((root / name for root in roots if (root / name).is_dir()), None)


def _libraries(root: Path) -> Iterator[Path]:
    for folder in ("lib", "lib64"):
        if (root / folder / "libtritonserver.so").is_file():
            yield root / folder / "libtritonserver.so"
    # The wheel as pip installs it: pytriton/tritonserver beside nvidia_pytriton.libs.
    yield from sorted((root.parent.parent / "nvidia_pytriton.libs").glob("libtritonserver-*.so"))


def _version(root: Path) -> str | None:
    file = root / "TRITON_VERSION"
    if file.is_file():
        return file.read_text(encoding="utf-8").strip() or None
    return os.environ.get("TRITON_SERVER_VERSION") if root == IMAGE_ROOT else None
