"""Emit a backend directory: the loader, the runtime, the author's package and what they were built with."""

from __future__ import annotations

import filecmp
import shutil
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

from triton_backend_sdk._ffi import builder
from triton_backend_sdk._version import __version__
from triton_backend_sdk.tools.attributes import backend_settings, wants_batcher
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.paths import cache_dir
from triton_backend_sdk.tools.project import Project

SDK = Path(__file__).parent.parent
#: What runs in the server; the rest of the SDK stays on the developer's machine.
RUNTIME = ("*.py", "py.typed", "_ffi/__init__.py", "_ffi/api.py", "python_backend/*.py")
#: Where Triton looks for a backend's TRITONBACKEND_ModelBatch functions.
BATCHER = "batchstrategy.so"
_VENDORED = Path("_sdk") / "triton_backend_sdk"


def build_backend(
    project: Project, out: Path, *, link: bool = False, progress: Callable[[str], None] = lambda step: None
) -> Path:
    """Build a project into ``out/NAME``, ready for a server's backend directory, and give that path.

    :param link: link the package instead of copying it: the server then runs the project's own files.
    :raises HandledError: no compiler, no headers or no shared libpython, or [tool.tbsdk] of pyproject.toml is
        wrong; the message says what to do.
    """
    target = out / project.name
    library = target / f"libtriton_{project.name}.so"
    _refuse_to_overwrite(target)
    attributes, batcher = backend_settings(project), wants_batcher(project)
    libpython, libdir = find_libpython()
    try:
        shim = builder.cached_shim(cache_dir(), progress)
    except builder.BuildError as error:
        raise HandledError(str(error), "run `tbsdk doctor` to see all that is missing") from error
    progress(f"writing {target}")
    target.mkdir(parents=True, exist_ok=True)
    _copy(shim.native, target / _VENDORED / shim.native.name)
    _copy(shim.loader, library)
    _mirror(SDK, target / _VENDORED, RUNTIME, keep=(shim.native.name,))
    _place_package(project.package, target / project.name, link)
    _place_batcher(target / BATCHER, library.name, batcher)
    settings = {
        "sdk": __version__,
        "fingerprint": builder.fingerprint(),
        "python": sysconfig.get_python_version(),
        "libpython": libpython,
        "libdir": str(libdir),
        "executable": sys.executable,
        "native": str(_VENDORED / shim.native.name),
        **attributes,
    }
    text = "".join(f"{key}={value}\n" for key, value in settings.items())
    conf = target / "tbsdk.conf"
    if not conf.is_file() or conf.read_text() != text:
        conf.write_text(text)
    return target


def find_libpython() -> tuple[str, Path]:
    """Give the name of this Python's shared library and the folder that holds it.

    :raises HandledError: this Python has none, so it cannot be embedded.
    """
    version = sysconfig.get_python_version()
    soname = f"libpython{version}.so.1.0"
    places = [sysconfig.get_config_var(name) for name in ("LIBDIR", "LIBPL")]
    libdir = Path(sysconfig.get_config_var("LIBDIR"))
    places += [str(libdir / str(sysconfig.get_config_var("MULTIARCH"))), f"{sys.base_prefix}/lib"]
    for place in places:
        if place and (Path(place) / soname).is_file():
            return soname, Path(place)
    raise HandledError(
        f"this Python ({sys.executable}) has no shared library: looked for {soname} in "
        + ", ".join(filter(None, places)),
        f"apt-get install libpython{version}, or use a Python that was configured with --enable-shared",
    )


def _refuse_to_overwrite(target: Path) -> None:
    if (target / _VENDORED).is_dir() or not target.exists() or not any(target.iterdir()):
        return
    if (target / "triton_python_backend_utils.py").is_file():
        raise HandledError(
            f"{target} holds Triton's own Python backend, which is never overwritten",
            f"put it aside (mv {target} {target}.stock) and build again; or take another -o, "
            "and name that in tritonserver's --backend-directory",
        )
    raise HandledError(f"{target} exists and was not made by tbsdk build", "choose another -o, or remove it")


def _place_batcher(link: Path, library: str, wanted: bool) -> None:
    """Let Triton find the backend's batcher, or not; an author's own in its place stays.

    A link and no copy: the same file is the same library in the server, with the same Python in it. And only
    where it is wanted, as Triton asks a batcher that it finds for every request of every model.
    """
    if wanted and not link.exists():
        link.unlink(missing_ok=True)  # it may lead nowhere
        link.symlink_to(library)
    elif not wanted and link.is_symlink():
        link.unlink()


def _place_package(package: Path, target: Path, link: bool) -> None:
    if target.is_symlink():
        target.unlink()
    if not link:
        _mirror(package, target, ("**/*",))
        return
    if target.exists():
        shutil.rmtree(target)
    target.symlink_to(package.resolve(), target_is_directory=True)


def _mirror(source: Path, target: Path, patterns: tuple[str, ...], keep: tuple[str, ...] = ()) -> None:
    """Make the target hold the source's files and no others, touching only what differs."""
    wanted = set(_files(source, patterns))
    for path in wanted:
        _copy(source / path, target / path)
    for stale in set(_files(target, ("**/*",))) - wanted:
        if stale.name not in keep:
            (target / stale).unlink()


def _files(folder: Path, patterns: tuple[str, ...]) -> Iterator[Path]:
    for pattern in patterns:
        for path in folder.glob(pattern):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path.relative_to(folder)


def _copy(source: Path, target: Path) -> None:
    if target.is_file() and filecmp.cmp(source, target):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.new")
    shutil.copy2(source, partial)
    partial.replace(target)  # never write into a library that a server may have mapped
