"""Lets libraries find a model's modules by their short names: in pickles, or by ``importlib.import_module``.

Such a name means another module in each model. ``sys.modules`` holds one facade for it, without any state,
that passes each access on to the model whose code is on the calling thread's stack.
"""

from __future__ import annotations

import importlib.abc
import re
import sys
import threading
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import CodeType, FrameType, ModuleType
from typing import TYPE_CHECKING, Any

from triton_backend_sdk.python_backend.module_loaders import scoped
from triton_backend_sdk.python_backend.module_search import OwnFinder, Stateless

if TYPE_CHECKING:
    from triton_backend_sdk.python_backend.scope import Scope

#: What ends the name of a root; a name of an instance that is no more is found in old pickles.
ROOT = re.compile(r"\w+__m\d+\Z")

#: The process's scopes, as sys.modules is the process's: by their roots, and by the id of their builtins.
_scopes: dict[str, Scope] = {}
_by_builtins: dict[int, Scope] = {}
_facades: dict[str, set[Scope]] = {}
_changing = threading.RLock()  # a finalizer may import, and run anywhere


def calling_scope(frame: FrameType | None = None) -> Scope | None:
    """Give the scope of the nearest caller that is a model's code; None when none is."""
    at = frame or sys._getframe(1)
    while at is not None:
        scope = _by_builtins.get(id(at.f_builtins))
        if scope is not None:
            return scope
        at = at.f_back  # type: ignore[assignment]
    return None


def add(scope: Scope) -> None:
    """Make the modules of a scope findable."""
    with _changing:
        if not _scopes:
            sys.meta_path.insert(0, _first)
            sys.meta_path.append(_last)
        _scopes[scope.root] = scope
        _by_builtins[id(scope.builtins)] = scope


def remove(scope: Scope) -> None:
    """Forget a scope, and the facades that no other can use."""
    with _changing:
        if _scopes.pop(scope.root, None) is None:
            return
        _by_builtins.pop(id(scope.builtins), None)
        if not _scopes:
            for finder in (_first, _last):
                if finder in sys.meta_path:
                    sys.meta_path.remove(finder)
    _remove_facades(scope)


def _remove_facades(scope: Scope) -> None:
    # A thread of another model's may have just imported a facade, and be about to look for it in sys.modules:
    # a facade stays while a model has a module of that name. Finding that out is no work for under a lock.
    while True:
        others = list(_scopes.values())
        tops = {name.partition(".")[0] for name, users in list(_facades.items()) if users <= {scope}}
        kept = {top: {other for other in others if other.knows_top(top)} for top in tops}
        with _changing:
            if others != list(_scopes.values()):
                continue
            for name, users in list(_facades.items()):
                users.discard(scope)
                users.update(kept.get(name.partition(".")[0], ()))
                if not users:
                    del _facades[name]
                    if isinstance(sys.modules.get(name), Facade):
                        del sys.modules[name]
            return


def put(scope: Scope, name: str) -> None:
    """Make a name of a scope's known in ``sys.modules``, where C code looks; other modules there stay."""
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        short = ".".join(parts[:end])
        with _changing:
            if scope.root in _scopes and isinstance(sys.modules.setdefault(short, Facade(short)), Facade):
                _facades.setdefault(short, set()).add(scope)


def _target(name: str, frame: FrameType, *, load: bool = True) -> Any:
    """Give the calling model's module of a facade's name.

    :raises AttributeError: there is none, it fails to import, or (without ``load``) it has not been imported.
    """
    scope = calling_scope(frame)
    try:
        module = None if scope is None else scope.private_module(_without_root(name), load=load)
    except Exception as error:
        # Those who go through sys.modules, as pickle does, expect nothing else.
        raise AttributeError(
            f"module {name!r} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    if module is None:
        raise AttributeError(f"module {name!r} belongs to models, and none that has it is calling")
    return module


def _without_root(name: str) -> str:
    """Take off the root of an instance that is no more."""
    root, _, rest = name.partition(".")
    return rest if ROOT.match(root) else name


#: What the import system sets on a module that it makes.
_ABOUT = frozenset(
    {"__name__", "__loader__", "__package__", "__spec__", "__path__", "__file__", "__cached__"}
)


class Facade(Stateless):
    """Stands for the modules of this name in all models."""

    def __getattribute__(self, name: str) -> Any:
        own = super().__getattribute__
        if name == "__class__":
            return own(name)
        if name == "__spec__" and getattr(own(name), "_initializing", False):
            return own(name)  # an import waits for the one that is under way
        # Who looks through sys.modules, as inspect does, reads such attributes: that must import nothing.
        about = name.startswith("__") and name != "__path__"
        try:
            module = _target(own("__dict__")["__name__"], sys._getframe(1), load=not about)
        except AttributeError:
            if about:
                return own(name)
            raise
        return module.__dict__ if name == "__dict__" else getattr(module, name)

    def __setattr__(self, name: str, value: object) -> None:
        own = super().__getattribute__("__dict__")
        if name in _ABOUT:
            own[name] = value
        elif not isinstance(value, Facade):  # the import system sets a submodule's facade on its package's
            setattr(_target(own["__name__"], sys._getframe(1)), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(_target(super().__getattribute__("__dict__")["__name__"], sys._getframe(1)), name)

    def __dir__(self) -> list[str]:
        return dir(_target(super().__getattribute__("__dict__")["__name__"], sys._getframe(1)))

    def __repr__(self) -> str:
        return f"<module {super().__getattribute__('__dict__')['__name__']!r} of several models>"


class _FacadeLoader(importlib.abc.InspectLoader):
    """Makes facades; for pkgutil and runpy it is the loader of the model's module."""

    def __init__(self, name: str) -> None:
        self._name = name

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return Facade(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        scope = calling_scope(sys._getframe(1))
        if scope is not None:
            scope.private_module(_without_root(self._name))  # an error of the import comes now

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._real()[0], name)

    def _real(self) -> tuple[Any, str]:
        module = _target(self._name, sys._getframe(2))
        return module.__spec__.loader, module.__spec__.name

    def get_code(self, fullname: str) -> CodeType | None:
        loader, name = self._real()
        code: CodeType | None = loader.get_code(name)
        return code

    def get_source(self, fullname: str) -> str | None:
        loader, name = self._real()
        text: str | None = loader.get_source(name)
        return text

    def is_package(self, fullname: str) -> bool:
        loader, name = self._real()
        return bool(loader.is_package(name))


class _First(OwnFinder):
    """Finds what lies below the root of a scope, and below a facade."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        head, _, rest = name.partition(".")
        scope = _scopes.get(head)
        if scope is not None:
            spec = scope.spec(rest, path)
            return spec and scoped(spec, scope.builtins)
        return _facade_spec(name) if rest and head in _facades else None

    def invalidate_caches(self) -> None:
        """Look anew for the files of all models: one has written a module, and calls importlib's function."""
        for scope in list(_scopes.values()):
            scope.search.invalidate_caches()


class _Last(OwnFinder):
    """Finds what the calling model alone knows."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if path is not None:
            return None
        scope = calling_scope(sys._getframe(1))
        for knowing in [scope] if scope is not None else list(_scopes.values()):
            spec = knowing.search.installed(name)
            if spec is not None:
                return spec
        return _facade_spec(name)


def _facade_spec(name: str) -> ModuleSpec | None:
    scope = calling_scope(sys._getframe(1))
    if scope is None or not scope.knows(_without_root(name)):
        return None
    with _changing:
        if scope.root not in _scopes:
            return None
        _facades.setdefault(name, set()).add(scope)
    return ModuleSpec(name, _FacadeLoader(name))


_first = _First()
_last = _Last()
