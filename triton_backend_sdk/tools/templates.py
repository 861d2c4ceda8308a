"""A new backend project: the template, copied under another name.

The template is itself a working project called ``mybackend``; there is no template language.
"""

from __future__ import annotations

import importlib.util
import keyword
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from triton_backend_sdk.tools.errors import HandledError

#: The template's name, in its file names and in its text.
STOCK_NAME = "mybackend"

_STOCK_BACKENDS = """armnn_tflite dali ensemble fil identity minimal onnxruntime openvino paddle python
    pytorch recommended repeat square tensorflow tensorflow1 tensorflow2 tensorrt tensorrtllm vllm"""

#: Why a well-formed name will not do, and the names.
_TAKEN = {
    "Triton has a backend of that name": frozenset(_STOCK_BACKENDS.split()),
    "it is a Python keyword": frozenset(keyword.kwlist),
    "it would shadow a module of Python's standard library": sys.stdlib_module_names,
    "every project has a folder of that name beside the package": {
        "build",
        "model_repository",
        "tests",
        "wheels",
    },
}

#: What running the template in a checkout leaves behind.
_LEFTOVERS = frozenset(
    {"build", "wheels", "__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".venv"}
)


@dataclass(frozen=True)
class NewProject:
    """What was written: the project's folder, and its files relative to it, sorted."""

    root: Path
    files: tuple[Path, ...]


def new_project(name: str, into: Path) -> NewProject:
    """Write a working backend project to ``into/name``.

    :raises HandledError: the name will not do, or something is already there.
    """
    check_name(name)
    source, target = template(), into.expanduser().resolve() / name
    files = list(_files(source))
    try:
        refuse_to_overwrite(target, f"tbsdk new {name} --into DIR")
        for file in files:
            _copy(source / file, target / _renamed(str(file), name), name)
    except OSError as error:
        raise HandledError(
            f"cannot write {error.filename or target}: {error.strerror}", f"tbsdk new {name} --into DIR"
        ) from error
    return NewProject(target, tuple(sorted(Path(_renamed(str(file), name)) for file in files)))


def template() -> Path:
    """Find the template: in the installed package, or beside it in a checkout.

    :raises HandledError: neither has it.
    """
    package = Path(__file__).resolve().parents[1]
    places = [package / "_templates" / STOCK_NAME, package.parent / "templates" / STOCK_NAME]
    for place in places:
        if (place / "pyproject.toml").is_file():
            return place
    looked = " and ".join(str(place) for place in places)
    raise HandledError(
        f"the project template is missing from this installation: looked in {looked}",
        "python -m pip install --force-reinstall triton-backend-sdk",
    )


def check_name(name: str) -> None:
    """Refuse a name that cannot be a package, a library and a Triton backend at once.

    :raises HandledError: says why, and proposes a name.
    """
    reason = fault(name)
    if reason:
        raise HandledError(f"{name!r} cannot name a backend: {reason}", f"tbsdk new {propose(name)}")


def propose(name: str) -> str:
    """Give a usable name that is close to an unusable one."""
    stem = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    for proposal in () if not stem else (stem, f"my_{stem}", f"{stem}_backend"):
        if not fault(proposal):
            return proposal
    return STOCK_NAME


def fault(name: str) -> str | None:
    """Say what is wrong with a backend's name, or None."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        return "it takes small letters, digits and _, and starts with a letter"
    for reason, names in _TAKEN.items():
        if name in names:
            return reason
    origin = _importable(name)
    if origin:
        return f"it would shadow an installed package ({origin})"
    return None


def _importable(name: str) -> str | None:
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    # A folder without __init__.py is a namespace package to Python, wherever the command happens to run.
    return spec.origin if spec else None


def refuse_to_overwrite(target: Path, again: str) -> None:
    """Refuse a folder for a new project that holds something.

    :param again: the command with which it goes elsewhere.
    :raises HandledError: it does.
    """
    if target.is_dir() and not target.is_symlink():
        if not any(target.iterdir()):
            return
        found = "it holds files"
    elif target.exists() or target.is_symlink():
        found = "it is not a folder"
    else:
        return
    raise HandledError(
        f"{target} exists already and {found}: nothing was written",
        f"choose another name, or another folder: {again}",
    )


def _files(source: Path) -> Iterator[Path]:
    for path in source.rglob("*"):
        file = path.relative_to(source)
        if path.is_file() and not _LEFTOVERS.intersection(file.parts):
            yield file


def _copy(source: Path, target: Path, name: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(_renamed(source.read_text(encoding="utf-8"), name), encoding="utf-8")
    shutil.copymode(source, target)


def _renamed(text: str, name: str) -> str:
    return text.replace(STOCK_NAME, name)
