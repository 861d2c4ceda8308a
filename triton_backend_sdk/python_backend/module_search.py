"""Where the imports of a model's files come from: the process's path first, then the model's directories."""

from __future__ import annotations

import os
import pkgutil
import sys
from collections.abc import Callable, Iterable
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from triton_backend_sdk.python_backend.module_loaders import STARTED_WITH

#: Folders of installed packages: one copy per process, because most extension modules cannot have two.
_INSTALLED = ("site-packages", "dist-packages")


class OwnFinder:
    """What this package puts on ``sys.meta_path``."""


class Found(NamedTuple):
    """A module for a model: the process's own, or one that the model gets a copy of."""

    shared: bool
    spec: ModuleSpec | None = None


class ModuleSearch:
    """The search for a scope: ``path`` gives the model's ``sys.path`` of the moment."""

    def __init__(self, root: str, own: Iterable[Path], path: Callable[[], Iterable[Any]]) -> None:
        self._root = root
        self._own = {os.path.realpath(directory) for directory in own}
        self._path = path
        self._at_start = frozenset(sys.path)
        #: Not ``sys.path_importer_cache``: what it knows of a directory may be older than a model's reload.
        self._finders: dict[str, Any] = {}

    def find(self, top: str) -> Found | None:
        """Find a module by its first name.

        The order is that of ``sys.meta_path``, with the model's path in place of the process's.
        """
        if top in STARTED_WITH:
            return Found(True)
        for finder in list(sys.meta_path):
            if isinstance(finder, OwnFinder):
                continue
            if finder is PathFinder:
                found = self._on_path(top)
                if found is not None:
                    return found
            elif hasattr(finder, "find_spec") and finder.find_spec(top, None) is not None:
                return Found(True)
        return Found(True) if _is_made_by_hand(sys.modules.get(top)) else None

    def find_below(self, fullname: str, path: Iterable[str]) -> ModuleSpec | None:
        """Find a module of a package: ``path`` is the package's."""
        spec, _ = self._walk(fullname, path)
        return spec

    def installed(self, top: str) -> ModuleSpec | None:
        """Find a package in a site-packages folder that the model has put on its path."""
        for entry in self._entries():
            if self._is_installed(entry):
                spec = self._spec_in(entry, top)
                if spec is not None and spec.loader is not None:
                    return spec
        return None

    def is_own(self, entry: str) -> bool:
        """Tell whether the modules of a directory are private copies."""
        return os.path.realpath(entry) in self._own or not (entry in sys.path or self._is_installed(entry))

    def invalidate_caches(self) -> None:
        """Read the directories anew."""
        self._finders = {}

    def forget(self) -> None:
        """Take the model's directories out of what the process knows of its path."""
        below = tuple(os.path.join(entry, "") for entry in {*self._own, *self._finders})
        for entry in list(sys.path_importer_cache):
            if entry not in sys.path and os.path.join(entry, "").startswith(below):
                sys.path_importer_cache.pop(entry, None)

    def _entries(self) -> list[str]:
        # What the process has added meanwhile (a library's doing) is there for the model too.
        given = [entry for entry in self._path() if isinstance(entry, str)]
        added = [entry for entry in sys.path if entry not in self._at_start and entry not in given]
        return [*given, *added]

    def _is_installed(self, entry: str) -> bool:
        return entry not in sys.path and os.path.basename(entry.rstrip("/")) in _INSTALLED

    def _on_path(self, top: str) -> Found | None:
        spec, entry = self._walk(f"{self._root}.{top}", self._entries())
        if spec is None:
            return None
        if spec.loader is None:
            portions = spec.submodule_search_locations or ()
            private = any(self.is_own(os.path.dirname(portion)) for portion in portions)
        else:
            private = self.is_own(entry)
        if not private and not _is_loaded_from_elsewhere(top, spec):
            return Found(True, spec)
        if not private and self._is_installed(entry) and PathFinder.find_spec(top) is not None:
            return Found(True)
        return Found(False, spec)

    def _walk(self, fullname: str, path: Iterable[str]) -> tuple[ModuleSpec | None, str]:
        portions: list[str] = []
        for entry in path:
            spec = self._spec_in(entry, fullname)
            if spec is not None and spec.loader is not None:
                return spec, entry
            if spec is not None:
                portions += spec.submodule_search_locations or ()
        if not portions:
            return None, ""
        spec = ModuleSpec(fullname, None, is_package=True)
        spec.submodule_search_locations = portions
        return spec, ""

    def _spec_in(self, entry: str, fullname: str) -> ModuleSpec | None:
        finder = self._finder(entry)
        return None if finder is None else finder.find_spec(fullname)

    def _finder(self, entry: str) -> Any:
        entry = entry or os.getcwd()
        if not self.is_own(entry) and entry in sys.path:
            return pkgutil.get_importer(entry)
        if entry not in self._finders:
            self._finders[entry] = _new_finder(entry)
        return self._finders[entry]


def _new_finder(entry: str) -> Any:
    for hook in sys.path_hooks:
        try:
            finder = hook(entry)
        except ImportError:
            continue
        if hasattr(finder, "invalidate_caches"):
            finder.invalidate_caches()
        return finder
    return None


def _origin(module: ModuleType) -> str | None:
    spec = getattr(module, "__spec__", None)
    origin = getattr(spec, "origin", None) or getattr(module, "__file__", None)
    return origin if isinstance(origin, str) and origin not in ("built-in", "frozen") else None


def _is_made_by_hand(module: ModuleType | None) -> bool:
    """Tell whether it is there without a file that a search would find, as a library may arrange."""
    return module is not None and not isinstance(module, Stateless) and _origin(module) is None


def _is_loaded_from_elsewhere(top: str, spec: ModuleSpec) -> bool:
    """Tell whether the process has another module of this name, such as an SDK backend's package."""
    module = sys.modules.get(top)
    if module is None:
        return False
    if isinstance(module, Stateless):
        return True
    origin = _origin(module)
    return origin is not None and (
        spec.origin is None or os.path.realpath(origin) != os.path.realpath(spec.origin)
    )


class Stateless(ModuleType):
    """A module that stands for those of the models: nobody's own."""
