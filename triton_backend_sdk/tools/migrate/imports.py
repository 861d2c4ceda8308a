"""What a model imports: its own modules, which are followed, and those of packages, which are looked for."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from triton_backend_sdk.tools.migrate import names
from triton_backend_sdk.tools.migrate.locate import Found
from triton_backend_sdk.tools.migrate.source import Function, Source, dotted


@dataclass(frozen=True)
class Import:
    """One import statement's name."""

    #: ``a.b`` for ``import a.b`` and ``from a.b import c``; with dots in front where it is relative.
    name: str
    file: Path
    line: int
    #: The model's own file that it means; None for a package's.
    own: Path | None
    #: Whether it can be imported with this Python.
    found: bool
    #: Whether the model can do without: below ``try``, ``if TYPE_CHECKING`` or in a function.
    optional: bool

    @property
    def top(self) -> str:
        """The name of the package."""
        return self.name.split(".")[0]


def imports(source: Source, found: Found) -> list[Import]:
    """Give a file's imports."""
    listed = []
    for node in ast.walk(source.tree):
        if not isinstance(node, (ast.Import, ast.ImportFrom)):
            continue
        for name, paths in _meant(node, source, found):
            own = next((path for path in paths if path.is_file()), None)
            present = own is not None or name.startswith(".") or _importable(name.split(".")[0])
            listed.append(Import(name, source.path, node.lineno, own, present, _is_optional(source, node)))
    return listed


def sources(found: Found) -> tuple[list[Source], list[Import]]:
    """Give model.py, the model's own modules that it imports, and all their imports.

    :raises HandledError: a file cannot be read or is no Python.
    """
    waiting, files, listed = [found.file], {}, []
    while waiting:
        path = waiting.pop(0)
        if path in files:
            continue
        files[path] = Source.read(path)
        new = imports(files[path], found)
        listed += new
        waiting += [one.own for one in new if one.own is not None]
    return list(files.values()), listed


def _meant(
    node: ast.Import | ast.ImportFrom, source: Source, found: Found
) -> Iterator[tuple[str, list[Path]]]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            if alias.name not in names.MODULES:
                yield alias.name, _files(alias.name, found.folders)
    elif node.level:
        folder = source.path.parents[node.level - 1]
        whole = [node.module] if node.module else []
        # `from . import helper` means a module, `from .helper import name` one or a name in it
        for alias in node.names:
            name = ".".join([*whole, alias.name])
            paths = [*_files(name, [folder]), *(_files(node.module, [folder]) if node.module else [])]
            yield "." * node.level + (node.module or alias.name), paths
    elif node.module not in names.MODULES:
        module = node.module or ""
        for alias in node.names:
            paths = [*_files(f"{module}.{alias.name}", found.folders), *_files(module, found.folders)]
            yield module, paths


def _files(name: str, folders: list[Path]) -> list[Path]:
    place = name.replace(".", "/")
    return [path for folder in folders for path in (folder / f"{place}.py", folder / place / "__init__.py")]


def _importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError, AttributeError):
        return False


def _is_optional(source: Source, node: ast.AST) -> bool:
    at: ast.AST | None = node
    while at is not None:
        if isinstance(at, (ast.Try, Function)):
            return True
        if isinstance(at, ast.If) and dotted(at.test).endswith("TYPE_CHECKING"):
            return True
        at = source.parents.get(at)
    return False
