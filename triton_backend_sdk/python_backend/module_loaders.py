"""Loaders for the modules of a scope: they run with its ``__import__``, and never from old bytecode."""

from __future__ import annotations

import importlib.abc
import sys
from importlib.machinery import ExtensionFileLoader, ModuleSpec, SourceFileLoader
from types import ModuleType
from typing import Any


class FreshSourceLoader(SourceFileLoader):
    """Compiles the source each time: bytecode misses an edit within a second, and does not belong there."""

    def __init__(self, fullname: str, path: str, builtins: dict[str, Any]) -> None:
        super().__init__(fullname, path)
        self._builtins = builtins

    def path_stats(self, path: str) -> Any:
        """Tell no time of the file, without which bytecode is neither read nor written."""
        raise OSError(f"{path}: no bytecode")

    def exec_module(self, module: ModuleType) -> None:
        """Run the file with the scope's builtins."""
        module.__dict__["__builtins__"] = self._builtins
        super().exec_module(module)


class ScopedLoader(importlib.abc.Loader):
    """Any other loader (a zip file's, bytecode without source), run with the scope's builtins."""

    def __init__(self, loader: Any, builtins: dict[str, Any]) -> None:
        self._loader = loader
        self._builtins = builtins

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # copy and pickle ask before there is a loader
            raise AttributeError(name)
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Leave it to the loader."""
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Run the module with the scope's builtins."""
        module.__dict__["__builtins__"] = self._builtins
        self._loader.exec_module(module)


def scoped(spec: ModuleSpec, builtins: dict[str, Any]) -> ModuleSpec:
    """Make the module of a spec run with these builtins."""
    loader = spec.loader
    if type(loader) is SourceFileLoader:
        spec.loader = FreshSourceLoader(loader.name, str(loader.path), builtins)
        spec.cached = None
    elif loader is not None and not isinstance(loader, ExtensionFileLoader):
        spec.loader = ScopedLoader(loader, builtins)
    return spec


#: The standard library's modules that the server has before any model; in the stock backend they win over
#: files of the model's, wherever those are on sys.path.
STARTED_WITH = (sys.stdlib_module_names & sys.modules.keys()) | {"__main__", "numpy"}
