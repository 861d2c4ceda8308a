"""The imports of one instance of a model: its own copies of model.py and of the files beside it.

In the stock backend each instance is a process. Here a module of a model's is in ``sys.modules`` under a root
of the instance's own: ``helper`` is ``add_sub_0_0__m3.helper``, ``<version>/model.py`` is
``add_sub_0_0__m3.1.model``. The files run with builtins whose ``__import__`` translates.

1. ``import x`` in a file calls ``Scope.import_``: given, private, or the process's own?
2. The search (module_search.py) goes along the model's sys.path; what is found in an entry of the process's
   sys.path is the process's own, and imported as ever; all else is private, and imported below the root.
3. The import system asks the first finder (facade.py) for what is below a root, and runs that with the
   builtins.
4. Libraries that import by name, as pickle does, find a facade that asks whose code is calling.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import itertools
import linecache
import logging
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from triton_backend_sdk.python_backend import facade
from triton_backend_sdk.python_backend.event_loops import EventLoops
from triton_backend_sdk.python_backend.module_search import ModuleSearch
from triton_backend_sdk.python_backend.sys_proxy import AtExit, ModuleProxy, proxies

_numbers = itertools.count(1)
_HERE = os.path.dirname(__file__) + os.sep


class Scope:
    """Imports for one instance; made, used and closed on any thread."""

    def __init__(
        self,
        name: str,
        version_directory: Path,
        model_directory: Path,
        backend_directory: Path,
        provided: Mapping[str, ModuleType],
    ) -> None:
        #: An identifier: torch.jit and others build names of their own from a module's.
        self.root = f"{re.sub(r'^(?=[0-9])|[^0-9A-Za-z_]', '_', name)}__m{next(_numbers)}"
        own = (version_directory, model_directory, backend_directory)
        #: The builtins of the model's files are its own too, as in a process: ``builtins.print = ...``.
        self.builtins_module = ModuleType("builtins", builtins.__doc__)
        self.builtins: dict[str, Any] = self.builtins_module.__dict__
        #: Names that are the process's own for good, and modules of the model's that need no more search.
        self._plain: set[str] = set()
        self._known: dict[str, ModuleType] = {}
        self.builtins.update(vars(builtins), __import__=_import_of(self, self._plain, self._known))
        #: A backend that is a folder with a model.py has no versions: there it is ``model``, not ``1.model``.
        self._package = (
            version_directory.name.replace(".", "_") if version_directory != model_directory else ""
        )
        self._version_directory = version_directory
        self._main = ""
        self._provided = dict(provided)
        self._at_exit = AtExit()
        self._loops = EventLoops()
        self._proxies = proxies(self, [*sys.path, *map(str, own)], self._at_exit, self._loops)
        self.search = ModuleSearch(self.root, own, lambda: self.sys.path)
        #: First names of what the process shares with the model.
        self._shared: set[str] = set()
        facade.add(self)
        self._make_root()

    @property
    def sys(self) -> Any:
        """What ``import sys`` gives in the model's files."""
        return self._proxies["sys"]

    def load(self, name: str = "model") -> ModuleType:
        """Import a module of the version directory.

        :raises BaseException: what the import raises; the traceback is without this package's frames.
        """
        self._main = name
        parts = (self.root, self._package, name) if self._package else (self.root, name)
        try:
            # importlib.import_module has frames that the stock backend's message of a failed load has not.
            module: ModuleType = _real_import(".".join(parts), None, None, ("__name__",), 0)
            return module
        except BaseException as error:
            raise self.authors_error(error)  # noqa: B904 - the very error

    def owns(self, module: ModuleType | Mapping[str, Any]) -> bool:
        """Tell whether a module, or the globals of a function, are of this scope."""
        space = module.__dict__ if isinstance(module, ModuleType) else module
        return space.get("__builtins__") is self.builtins

    def close(self) -> None:
        """Forget every module; code that still runs keeps what it has, and imports no more of its own.

        First it does what the model has given to atexit: for a process of its own this is the end.
        """
        self._at_exit.run()
        self._loops.close()
        facade.remove(self)
        prefix = f"{self.root}."
        for name in [name for name in list(sys.modules) if name == self.root or name.startswith(prefix)]:
            module = sys.modules.pop(name, None)
            if isinstance(module, ModuleType):
                linecache.cache.pop(str(module.__dict__.get("__file__")), None)
        self.search.forget()
        self.forget_known()
        loggers = logging.root.manager.loggerDict
        for name in [name for name in list(loggers) if name == self.root or name.startswith(prefix)]:
            loggers.pop(name, None)

    def import_(self, name: str, space: Any, names: Any, fromlist: Sequence[str] | None) -> Any:
        """Import for a file of the model's, by an absolute name."""
        top = name.partition(".")[0]
        if facade.ROOT.match(top):
            return _real_import(name, space, names, fromlist, 0)
        given = self.given(top)
        if given is not None:
            return self._import_given(given, name, fromlist)
        if self.is_private(top) or f"{self.root}.{name}" in sys.modules:
            return self._import_private(name, space, names, fromlist)
        if not self.shares(top):
            raise ModuleNotFoundError(f"No module named {top!r}", name=top)
        module = _real_import(name, space, names, fromlist, 0)
        self._plain.add(name)
        return module

    def given(self, name: str) -> ModuleType | None:
        """Give the module that stands in for one of the process's: the model's utils, or sys."""
        return self._provided.get(name) or self._proxies.get(name)

    def is_private(self, name: str) -> bool:
        """Tell whether a module is a copy of the model's own."""
        top = name.partition(".")[0]
        if f"{self.root}.{top}" in sys.modules:
            return True
        if top in self._shared or top in self._proxies:
            return False
        return self.spec(top) is not None

    def shares(self, name: str) -> bool:
        """Tell whether the process's own module of this name is the model's too."""
        top = name.partition(".")[0]
        if top not in self._shared:
            found = self.search.find(top)
            if found is None or not found.shared:
                return False
            self._shared.add(top)
        return True

    def knows(self, name: str) -> bool:
        """Tell whether there is a private module of this dotted name; its packages are imported for that."""
        full = f"{self.root}.{name}"
        if not name or full in sys.modules:
            return True
        return self.is_private(name) and importlib.util.find_spec(full) is not None

    def knows_top(self, top: str) -> bool:
        """Tell the same of a first name, which may be the root of an instance that is no more."""
        return facade.ROOT.match(top) is not None or self.is_private(top)

    def private_module(self, name: str, *, load: bool = True) -> ModuleType | None:
        """Give a private module by its dotted name, imported if need be; None if there is none."""
        full = f"{self.root}.{name}" if name else self.root
        module = sys.modules.get(full)
        if module is not None or not load or not self.knows(name):
            return module
        return self.import_below_root(full)

    def import_below_root(self, full: str) -> ModuleType:
        """Import a private module by its full name."""
        try:
            return importlib.import_module(full)
        except ImportError as error:
            raise self.authors_error(error)  # noqa: B904 - the very error

    def spec(self, name: str, path: Sequence[str] | None = None) -> ModuleSpec | None:
        """Find a private module by its dotted name; ``path`` is that of its package."""
        if name == self._package:
            return self._version_package()
        if name == self._main and not self._package:
            return self.search.find_below(f"{self.root}.{name}", [str(self._version_directory)])
        if "." in name:
            return self.search.find_below(f"{self.root}.{name}", path or ())
        found = self.search.find(name)
        return None if found is None or found.shared else found.spec

    def forget_known(self) -> None:
        """Look anew at what ``import`` gives: sys.modules has changed."""
        self._known.clear()

    def authors_error(self, error: BaseException) -> BaseException:
        """Take out of an error what its author did not write: the root in a name, the frames of imports."""
        if isinstance(error, ImportError):
            prefix = f"{self.root}."
            if isinstance(error.msg, str) and prefix in error.msg:
                error.msg = error.msg.replace(prefix, "")
                error.args = (error.msg, *error.args[1:])
            if isinstance(error.name, str):
                error.name = error.name.removeprefix(prefix)
        return error.with_traceback(_authors(error.__traceback__))

    def _import_given(self, given: ModuleType, name: str, fromlist: Sequence[str] | None) -> Any:
        if "." in name or (fromlist and isinstance(given, ModuleProxy)):
            module = _real_import(name, None, None, fromlist or ("__name__",), 0)
            return (self.given(name) or module) if fromlist else given
        return self._remember(name, given)

    def _import_private(self, name: str, space: Any, names: Any, fromlist: Sequence[str] | None) -> Any:
        if self.root not in sys.modules:
            raise ImportError(f"{name!r} is of a model that has been unloaded: import it earlier", name=name)
        leaf = _real_import(f"{self.root}.{name}", space, names, fromlist or ("__name__",), 0)
        if type(fromlist) is list and not fromlist:
            facade.put(self, name)  # that is how C code imports, and it looks into sys.modules afterwards
        if "." not in name:
            return self._remember(name, leaf)
        if fromlist:
            return leaf
        top = name.partition(".")[0]
        return sys.modules.get(f"{self.root}.{top}") or _real_import(top)

    def _remember(self, name: str, module: ModuleType) -> ModuleType:
        # A package may be asked for submodules, and a module that is still loading may yet fail.
        loading = getattr(getattr(module, "__spec__", None), "_initializing", False)
        if not loading and not hasattr(module, "__path__"):
            self._known[name] = module
        return module

    def _make_root(self) -> None:
        spec = ModuleSpec(self.root, None, is_package=True)
        spec.submodule_search_locations = list(map(str, self.sys.path[-3:]))
        sys.modules[self.root] = importlib.util.module_from_spec(spec)

    def _version_package(self) -> ModuleSpec | None:
        name = f"{self.root}.{self._package}"
        init = self._version_directory / "__init__.py"
        folder = [str(self._version_directory)]
        if init.is_file():
            return importlib.util.spec_from_file_location(name, init, submodule_search_locations=folder)
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = folder
        return spec


_real_import = builtins.__import__


def _import_of(scope: Scope, plain: set[str], known: dict[str, ModuleType]) -> Callable[..., Any]:
    """Make the ``__import__`` of a scope; what it has imported before it gives at once."""

    def scoped_import(
        name: str,
        globals: Any = None,  # noqa: A002 - as builtins.__import__ has it
        locals: Any = None,  # noqa: A002
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> Any:
        try:
            if level or name in plain:
                return _real_import(name, globals, locals, fromlist, level)
            if name in known and type(fromlist) is not list:
                return known[name]
            return scope.import_(name, globals, locals, fromlist)
        except BaseException as error:
            raise scope.authors_error(error)  # noqa: B904 - the very error

    return scoped_import


def _authors(traceback: TracebackType | None) -> TracebackType | None:
    """Leave out the frames of the import system's and of this package's."""
    kept = []
    while traceback is not None:
        if not _is_ours(traceback):
            kept.append(traceback)
        traceback = traceback.tb_next
    for link, following in itertools.zip_longest(kept, kept[1:]):
        link.tb_next = following
    return kept[0] if kept else None


def _is_ours(traceback: TracebackType) -> bool:
    path = traceback.tb_frame.f_code.co_filename
    return path.startswith((_HERE, "<frozen importlib", os.path.dirname(importlib.__file__) + os.sep))
