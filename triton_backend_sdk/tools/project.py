"""A backend project on disk: where its package, model repository and requirements are."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from triton_backend_sdk.tools.errors import HandledError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found,unused-ignore]  # the backport, on 3.10 only

NEW = "tbsdk new NAME"


@dataclass(frozen=True)
class Project:
    """What pyproject.toml says of a backend, with the paths that follow from it."""

    #: The backend's name: of ``libtriton_NAME.so``, of the package and of ``backend:`` in config.pbtxt.
    name: str
    root: Path
    #: The author's package, which holds plugin.py.
    package: Path
    #: Where ``tbsdk serve`` finds the models; the folder may be absent.
    model_repository: Path
    #: ``[project].dependencies``, as written.
    requirements: list[str]
    #: ``[tool.tbsdk]``, as written.
    settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def find(cls, path: Path) -> Project:
        """Find the project that the path is, or lies in: the nearest pyproject.toml of a backend.

        :raises HandledError: there is none, or it is not a working project; says what was looked for.
        """
        start = path.expanduser().resolve()
        if not start.exists():
            raise HandledError(f"no folder {path}: a backend project was expected there", NEW)
        strays = []
        for file in _pyprojects(start):
            table = _read(file)
            if "tbsdk" in _table(table, "tool") or _plugin(file, table).is_file():
                return cls._load(file, table)
            strays.append(file)
        raise HandledError(_not_found(start, strays), NEW)

    @classmethod
    def _load(cls, file: Path, table: dict[str, Any]) -> Project:
        name = _name(table)
        if not name.isidentifier():
            raise HandledError(
                f"{file} names no backend: expected a package name in [tool.tbsdk] backend, found {name!r}",
                'write backend = "NAME" under [tool.tbsdk] there',
            )
        plugin = _plugin(file, table)
        if not plugin.is_file():
            raise HandledError(
                f"no {plugin}: {file.name} there says that the backend is called {name!r}",
                f"put the hooks into {name}/plugin.py, or make a new project: {NEW}",
            )
        dependencies = _table(table, "project").get("dependencies", [])
        if not isinstance(dependencies, list) or not all(isinstance(line, str) for line in dependencies):
            raise HandledError(
                f"[project].dependencies in {file} is no list of strings: {dependencies!r}", f"mend {file}"
            )
        root = file.parent
        settings = _table(table, "tool", "tbsdk")
        return cls(name, root, root / name, root / "model_repository", dependencies, settings)


def _pyprojects(start: Path) -> Iterator[Path]:
    for folder in (start, *start.parents):
        if (folder / "pyproject.toml").is_file():
            yield folder / "pyproject.toml"


def _read(file: Path) -> dict[str, Any]:
    try:
        contents: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise HandledError(f"cannot read {file}: {error}", f"mend {file}") from error
    return contents


def _table(table: dict[str, Any], *path: str) -> dict[str, Any]:
    for key in path:
        value = table.get(key)
        table = value if isinstance(value, dict) else {}
    return table


def _name(table: dict[str, Any]) -> str:
    name = _table(table, "tool", "tbsdk").get("backend")
    if name is None:  # a distribution may be called my-backend, its package cannot
        name = str(_table(table, "project").get("name", "")).replace("-", "_").replace(".", "_")
    return str(name)


def _plugin(file: Path, table: dict[str, Any]) -> Path:
    return file.parent / _name(table) / "plugin.py"


def _not_found(start: Path, strays: list[Path]) -> str:
    if not strays:
        return f"no backend project in {start} or above it: no pyproject.toml was found"
    return (
        f"no backend project in {start} or above it: {strays[0]} has no [tool.tbsdk] table "
        "and no NAME/plugin.py beside it"
    )
