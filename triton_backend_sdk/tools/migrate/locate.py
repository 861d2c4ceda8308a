"""From what a person typed to the models that are meant: a model.py, a model's folder, or a repository."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from triton_backend_sdk.errors import InvalidArgError
from triton_backend_sdk.tools.config_text import parse_config
from triton_backend_sdk.tools.errors import HandledError

#: Backends that run a model.py.
SERVED_BY = ("python", "python_inprocess")
_TYPE = "tbsdk migrate MODEL_REPOSITORY/NAME"


@dataclass
class Found:
    """A model.py, and what lies around it."""

    name: str
    #: The file that the backend would import.
    file: Path
    #: Where the model's config.pbtxt is, or would be.
    directory: Path
    #: "" for a model.py that lies in no version's folder.
    version: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    #: What was chosen, and why.
    notes: list[str] = field(default_factory=list)

    @property
    def config_file(self) -> Path:
        """The model's config.pbtxt, which may be absent."""
        return self.directory / "config.pbtxt"

    @property
    def folders(self) -> list[Path]:
        """Where its own modules are looked for, in that order."""
        return list(dict.fromkeys([self.file.parent, self.directory]))

    def parameter(self, name: str) -> str | None:
        """Give a parameter of its config."""
        value = (self.config.get("parameters") or {}).get(name)
        return None if value is None else str(value.get("string_value", ""))


def locate(path: Path) -> list[Found]:
    """Find the models at a path.

    :raises HandledError: there are none; says what was looked for.
    """
    start = path.expanduser()
    if start.is_file():
        if start.suffix != ".py":
            raise HandledError(f"{path} is no Python file: a model.py was expected", _TYPE)
        return [_of_file(start.resolve())]
    if not start.is_dir():
        raise HandledError(f"no {path}: a model's folder or its model.py was expected there", _TYPE)
    folder = start.resolve()
    found = _of_folder(folder)
    if found is not None:
        return [found]
    models = [model for child in sorted(folder.iterdir()) if child.is_dir() and (model := _of_folder(child))]
    if not models:
        raise HandledError(
            f"no model of the Python backend in {path}: looked for model.py, <version>/model.py "
            "and <model>/<version>/model.py",
            _TYPE,
        )
    return models


def _of_file(file: Path) -> Found:
    folder = file.parent
    if folder.name.isdigit():
        directory = folder.parent
        return _found(directory.name, file, directory, folder.name)
    return _found(folder.name, file, folder, "")


def _of_folder(folder: Path) -> Found | None:
    if (folder / "config.pbtxt").is_file():
        config, _ = _config(folder / "config.pbtxt")
    else:
        config = {}
    name = str(config.get("default_model_filename") or "model.py")
    if folder.name.isdigit() and (folder / name).is_file():
        return _of_file(folder / name)
    versions = sorted(
        (child for child in folder.iterdir() if child.name.isdigit() and (child / name).is_file()),
        key=lambda child: int(child.name),
    )
    if not versions:
        # A backend of one's own keeps model.py beside no config; NVIDIA's examples do, too.
        return _of_file(folder / name) if (folder / name).is_file() else None
    newest = versions[-1]
    found = _found(folder.name, newest / name, folder, newest.name)
    if len(versions) > 1:
        others = ", ".join(version.name for version in versions[:-1])
        found.notes.append(
            f"version {newest.name} was looked at, not {others}: `{others.split(', ')[0]}/{name}` "
            "can be given by itself"
        )
    return found


def _found(name: str, file: Path, directory: Path, version: str) -> Found:
    config, problem = _config(directory / "config.pbtxt")
    found = Found(str(config.get("name") or name), file, directory, version, config)
    if problem:
        found.notes.append(problem)
    elif not found.config_file.is_file():
        found.notes.append("no config.pbtxt beside it: what depends on the config was not looked at")
    elif (backend := config.get("backend") or config.get("platform")) not in (None, *SERVED_BY):
        found.notes.append(f"its config.pbtxt names the backend {backend!r}")
    return found


def _config(file: Path) -> tuple[dict[str, Any], str]:
    if not file.is_file():
        return {}, ""
    try:
        return parse_config(file.read_text(encoding="utf-8")), ""
    except (InvalidArgError, ValueError, OSError) as error:
        return {}, f"its {error}" if isinstance(error, InvalidArgError) else f"{file}: {error}"
