"""What ``import sys`` and some of its kin give in a model's files: the process's own, but for imports.

``sys.path``, ``sys.modules`` and ``sys.argv`` are the model's own, as they are in a process of its own. All
else that a model sets on ``sys`` is set for the process.
"""

from __future__ import annotations

import asyncio
import atexit
import importlib
import importlib.util
import logging
import site
import sys
import threading
from collections.abc import Callable, Iterator, MutableMapping
from importlib.machinery import ModuleSpec
from types import BuiltinFunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from triton_backend_sdk.python_backend import facade
from triton_backend_sdk.python_backend.event_loops import EventLoops

if TYPE_CHECKING:
    from triton_backend_sdk.python_backend.scope import Scope

_adding = threading.Lock()


class ModuleProxy(ModuleType):
    """A module with some attributes of its own; the rest are the real one's."""

    def __init__(self, real: ModuleType, own: dict[str, Any]) -> None:
        super().__init__(real.__name__, real.__doc__)
        for name in ("__spec__", "__loader__", "__package__"):
            self.__dict__.pop(name)
        # Functions are copied: a model that calls sys.exc_info() should not pay for the proxy.
        copied = {name: value for name, value in vars(real).items() if type(value) is BuiltinFunctionType}
        self.__dict__.update(copied, **own, __real__=real, __own__=frozenset(own))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["__real__"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.__dict__["__own__"]:
            self.__dict__.pop(name, None)
            setattr(self.__dict__["__real__"], name, value)
        else:
            self.__dict__[name] = value

    def __delattr__(self, name: str) -> None:
        if name not in self.__dict__["__own__"]:
            self.__dict__.pop(name, None)
            delattr(self.__dict__["__real__"], name)

    def __dir__(self) -> list[str]:
        return sorted({*dir(self.__dict__["__real__"]), *self.__dict__["__own__"]})


class ModulesView(MutableMapping[str, Any]):
    """``sys.modules`` as the model sees it: its own modules have short names."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def __getitem__(self, name: str) -> Any:
        found: Any = self._scope.given(name)
        if found is None:
            modules: dict[str, Any] = sys.modules
            found = modules.get(self._full(name), self)
        if found is self and name in sys.modules and self._scope.shares(name):
            found = sys.modules[name]
        if found is self:
            raise KeyError(name)
        return found

    def __setitem__(self, name: str, module: Any) -> None:
        sys.modules[self._full(name)] = module
        self._scope.forget_known()
        if self._full(name) != name:
            facade.put(self._scope, name)

    def __delitem__(self, name: str) -> None:
        if sys.modules.pop(self._full(name), self) is self and name not in self:
            raise KeyError(name)  # one that the process shares stays: others use it
        self._scope.forget_known()

    def __iter__(self) -> Iterator[str]:
        prefix = f"{self._scope.root}."
        private = {name.removeprefix(prefix) for name in list(sys.modules) if name.startswith(prefix)}
        yield from private
        yield from (name for name in list(sys.modules) if name not in private and name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def copy(self) -> dict[str, Any]:
        """Give a dict, as a dict does."""
        return dict(self)

    def _full(self, name: str) -> str:
        root = self._scope.root
        return name if name == root or name.startswith(f"{root}.") else f"{root}.{name}"


class _Importlib:
    """The functions of importlib that take the name of a module."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def import_module(self, name: str, package: str | None = None) -> ModuleType:
        """Import a module as the model's files do."""
        if name.startswith("."):
            name = importlib.util.resolve_name(name, package)
        if name.startswith(f"{self._scope.root}."):
            return self._scope.import_below_root(name)
        module: ModuleType = self._scope.builtins["__import__"](name, None, None, ("__name__",))
        return module

    def find_spec(self, name: str, package: str | None = None) -> ModuleSpec | None:
        """Find a module as the model's files do."""
        if name.startswith("."):
            name = importlib.util.resolve_name(name, package)
        scope = self._scope
        given = scope.given(name)
        if given is not None:
            return given.__spec__ or ModuleSpec(name, None)
        if name.startswith(f"{scope.root}."):
            return importlib.util.find_spec(name)
        if scope.is_private(name):
            try:
                return importlib.util.find_spec(f"{scope.root}.{name}")
            except ImportError as error:
                raise scope.authors_error(error)  # noqa: B904 - the very error
        return importlib.util.find_spec(name) if scope.shares(name) else None

    def module_from_spec(self, spec: ModuleSpec) -> ModuleType:
        """Make a module that imports as the model's files do."""
        module = importlib.util.module_from_spec(spec)
        module.__dict__.setdefault("__builtins__", self._scope.builtins)
        return module


def _add_site(scope: Scope, sitedir: str, known_paths: set[str] | None) -> None:
    # site knows the process's path only: what it adds there moves to the model's.
    with _adding:
        before = list(sys.path)
        site.addsitedir(sitedir, known_paths)
        added = [entry for entry in sys.path if entry not in before]
        for entry in added:
            sys.path.remove(entry)
    scope.sys.path.extend(entry for entry in added if entry not in scope.sys.path)


class AtExit:
    """What a model wants done at its end, which is not the server's."""

    def __init__(self) -> None:
        self._calls: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = []

    def register(self, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Callable[..., Any]:
        """Call a function when the instance is unloaded."""
        self._calls.append((func, args, kwargs))
        return func

    def unregister(self, func: Callable[..., Any], /) -> None:
        """Do not call it."""
        self._calls[:] = [call for call in self._calls if call[0] != func]

    def run(self) -> None:
        """Call them, the last one first."""
        while self._calls:
            func, args, kwargs = self._calls.pop()
            try:
                func(*args, **kwargs)
            except BaseException:
                logging.getLogger("triton").exception("a model's atexit function failed")


def proxies(scope: Scope, path: list[str], at_exit: AtExit, loops: EventLoops) -> dict[str, ModuleType]:
    """Make the modules of the standard library that a model has copies of."""
    tools = _Importlib(scope)

    def addsitedir(sitedir: str, known_paths: set[str] | None = None) -> None:
        _add_site(scope, sitedir, known_paths)

    util = ModuleProxy(
        importlib.util, {"find_spec": tools.find_spec, "module_from_spec": tools.module_from_spec}
    )
    own = {"import_module": tools.import_module, "util": util, "__import__": scope.builtins["__import__"]}
    return {
        "sys": ModuleProxy(sys, {"path": path, "modules": ModulesView(scope), "argv": [""]}),
        "builtins": scope.builtins_module,
        "importlib": ModuleProxy(importlib, own),
        "importlib.util": util,
        "atexit": ModuleProxy(
            atexit,
            {
                "register": at_exit.register,
                "unregister": at_exit.unregister,
                "_clear": at_exit._calls.clear,
                "_run_exitfuncs": at_exit.run,
            },
        ),
        "site": ModuleProxy(site, {"addsitedir": addsitedir}),
        "asyncio": ModuleProxy(asyncio, {"get_event_loop": loops.get_event_loop}),
    }
