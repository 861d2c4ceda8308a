"""Import an author's package from its backend directory, and again when its files have changed.

The package is registered under the backend's name, from its own folder and not through ``sys.path``: two
backends may hold modules of equal names without seeing each other's.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
from pathlib import Path
from types import ModuleType

from triton_backend_sdk.errors import NotFoundError

_Signature = frozenset[tuple[str, int, int]]


def built(directory: Path) -> Path:
    """Give the folder that ``tbsdk build`` wrote for the backend that Triton found in a directory.

    A backend may be a model.py alone: Triton then opens libtriton_python.so for it, from the folder beside.
    """
    return directory if (directory / "tbsdk.conf").is_file() else directory.parent / "python"


class PluginPackage:
    """The package of one backend: a folder NAME/ with plugin.py in it."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self._folder = directory / name
        self._signature: _Signature | None = None
        self._loading = threading.Lock()  # Triton loads several models at a time

    def load(self) -> ModuleType:
        """Give the module NAME.plugin, imported anew if a file of the package has changed since.

        Models that are still loaded keep the code that they were loaded with.

        :raises NotFoundError: the folder or its plugin.py is missing.
        """
        for path in (self._folder / "__init__.py", self._folder / "plugin.py"):
            if not path.is_file():
                raise NotFoundError(
                    f"no plugin for backend '{self.name}': {path} is missing; run `tbsdk build`"
                )
        with self._loading:
            signature = self._look()
            if self._signature not in (None, signature) or not self._is_imported():
                self._forget()
                self._import_package()
            self._signature = signature
            return importlib.import_module(f"{self.name}.plugin")

    def _look(self) -> _Signature:
        files = (
            path for path in self._folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts
        )
        return frozenset((str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in files)

    def _is_imported(self) -> bool:
        """Tell whether the very package is there already, as in a test that imports it from its project."""
        module = sys.modules.get(self.name)
        origin = getattr(module, "__file__", None)
        return origin is not None and Path(origin).resolve() == (self._folder / "__init__.py").resolve()

    def _forget(self) -> None:
        for name in [name for name in sys.modules if name == self.name or name.startswith(f"{self.name}.")]:
            del sys.modules[name]
        importlib.invalidate_caches()

    def _import_package(self) -> None:
        # resolve: through a link the modules get the project's paths, which breakpoints and coverage know
        folder = self._folder.resolve()
        spec = importlib.util.spec_from_file_location(
            self.name, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[self.name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            self._forget()
            raise
