"""The ready-made backend for models that are written for Triton's Python backend."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from triton_backend_sdk.tools.build import build_backend
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.project import Project
from triton_backend_sdk.tools.templates import fault

#: What a config.pbtxt names to have its model.py run in process.
NAME = "python_inprocess"
#: The name of Triton's own: a backend of this name takes its place.
STOCK = "python"
_PACKAGE = Path(__file__).parent / "python_inprocess"
#: What Triton's own answers when asked: a GPU for each instance where there is one, instances in parallel.
_SETTINGS = {
    "batcher": False,
    "parallel-instance-loading": True,
    "preferred-instance-groups": [{"kind": "gpu"}],
}


def compat_backend(name: str = NAME) -> Project:
    """Give the backend as a project that ``build_backend`` takes; its models lie wherever the user has them.

    :raises HandledError: the name will not do.
    """
    reason = None if name in (NAME, STOCK) else fault(name)
    if reason:
        raise HandledError(
            f"{name!r} cannot name a backend: {reason}", f"leave --name out, it is {NAME} then"
        )
    return Project(name, _PACKAGE.parent, _PACKAGE, _PACKAGE / "model_repository", [], _SETTINGS)


def build_compat(
    out: Path, backends: Path | None = None, *, progress: Callable[[str], None] = lambda step: None
) -> None:
    """Build a folder for a server: the backend under its own name and the stock one's, and all others linked.

    :param backends: the folder of the others; Triton looks in one only.
    """
    for name in (NAME, STOCK):
        build_backend(compat_backend(name), out, progress=progress)
    link_others(out, backends)


def link_others(out: Path, backends: Path | None) -> None:
    """Link a server's own backends beside those that were built: Triton looks in one folder only."""
    for other in sorted(backends.iterdir()) if backends and backends.resolve() != out.resolve() else ():
        link = out / other.name
        if link.is_symlink():
            link.unlink()  # it may lead to another server's
        if not link.exists():
            link.symlink_to(other.resolve(), target_is_directory=True)
