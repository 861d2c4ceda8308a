"""From a plugin module to a plugin manager: which hooks there are, and what is called for a batch."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import Any

import pluggy

from triton_backend_sdk import batching, failure, hookspecs
from triton_backend_sdk.errors import InvalidArgError, NotFoundError
from triton_backend_sdk.event_loop import EventLoop
from triton_backend_sdk.execution import adapt, run_on
from triton_backend_sdk.model import Model
from triton_backend_sdk.model_instance import ModelInstance
from triton_backend_sdk.signature import Signature
from triton_backend_sdk.slow_log import SlowLog
from triton_backend_sdk.watchdog import Watchdogs

_MARK = f"{hookspecs.PROJECT}_impl"
#: The hooks that concern the whole backend, and those that concern a model: no single instance, so that a
#: class may hold them as static or class methods.
BACKEND_HOOKS = ("backend_initialize", "backend_finalize")
MODEL_HOOKS = ("auto_complete_config", "model_initialize", "model_finalize", *batching.HOOKS)
Execute = Callable[[list[Any]], Any]


class Plugin:
    """The author's code: hooks of a module, or of a class of which each instance gets an object."""

    def __init__(self, module: ModuleType, is_served: Callable[[], bool] = lambda: True) -> None:
        self.module = module
        self.cls = _plugin_class(module)
        #: What the plugin declares of its models, if it does.
        self.signature = _signature(module, self.cls)
        self._is_served = is_served
        self._loop: EventLoop | None = None
        if self.cls is None:
            if not _has_hook(module, "execute"):
                raise NotFoundError(_no_execute(module))
            return
        for name, _ in _hooks(module):
            if name not in (*BACKEND_HOOKS, *MODEL_HOOKS):
                raise InvalidArgError(
                    f"{module.__file__}: hook '{name}' stands beside class {self.cls.__name__}; move it in"
                )
        for name in (*BACKEND_HOOKS, *MODEL_HOOKS):
            if (
                inspect.isfunction(found := getattr(self.cls, name, None))
                and "self" in inspect.signature(found).parameters
            ):
                raise InvalidArgError(
                    f"{module.__file__}: {name} concerns no single instance; make it a staticmethod"
                )

    def backend_manager(self) -> pluggy.PluginManager:
        """Give the manager of the backend's own hooks."""
        return self._shared_manager(BACKEND_HOOKS)

    def model_manager(self) -> pluggy.PluginManager:
        """Give the manager of a model's own hooks."""
        return self._shared_manager(MODEL_HOOKS)

    def _shared_manager(self, hooks: tuple[str, ...]) -> pluggy.PluginManager:
        manager = _manager()
        _register(manager, _Subset(self.module, hooks))
        if self.cls is not None:
            _register(manager, _Subset(self.cls, hooks))
        return manager

    def instance_manager(self, instance: ModelInstance, watchdogs: Watchdogs) -> pluggy.PluginManager:
        """Give the manager of one instance's hooks; a class is instantiated here."""
        manager = _manager()
        own = self.module if self.cls is None else self.cls()
        instance._watchdog = watchdog = watchdogs.of(instance)
        shared = (*BACKEND_HOOKS, *MODEL_HOOKS)
        hooks = _Subset(own, tuple(name for name in _spec_names() if name not in shared))
        self._adapt(hooks, instance)
        _register(manager, hooks)
        threshold = instance.model.parameters.get_float("slow_execute_ms", 0.0)
        if threshold:
            manager.register(SlowLog(threshold))
        if watchdog is not None:
            manager.register(watchdog)
        return manager

    def _adapt(self, hooks: _Subset, instance: ModelInstance) -> None:
        """Make what an author may write into what is called: no coroutines, and batches for execute."""
        loop = partial(self._event_loop, instance.model)
        for name, function in list(vars(hooks).items()):
            if name == "execute":
                adapted = adapt(function, instance, loop, partial(failure.describe, instance))
            elif name in ("initialize", "finalize") and inspect.iscoroutinefunction(function):
                adapted = run_on(loop(), function)
            else:
                continue
            if adapted is function:
                continue
            setattr(adapted, _MARK, getattr(function, _MARK))
            setattr(hooks, name, adapted)

    def _event_loop(self, model: Model) -> EventLoop:
        if self._loop is None:
            drain = model.parameters.get_float("drain_seconds", 30.0)
            self._loop = EventLoop(model.name, model.logger, self._is_served, drain)
        return self._loop

    def close(self) -> None:
        """End the event loop, if there is one; the model's last instance is gone."""
        if self._loop is not None:
            self._loop.stop()


def execute_caller(manager: pluggy.PluginManager, instance: ModelInstance) -> Execute:
    """Give what C calls with a batch.

    A hook call through pluggy costs more than the rest of a small request, so the only implementation is
    called directly where nothing wraps it.
    """
    implementations = manager.hook.execute.get_hookimpls()
    if len(implementations) != 1:
        return partial(_call_hook, manager.hook.execute, instance)
    function, names = implementations[0].function, implementations[0].argnames
    if tuple(names) == ("requests",):
        return function
    if tuple(names) == ("instance", "requests"):
        return partial(function, instance)
    return lambda requests: function(
        **{name: {"instance": instance, "requests": requests}[name] for name in names}
    )


def batch_hooks(manager: pluggy.PluginManager) -> dict[str, Callable[..., Any]]:
    """Give what to call for each batch hook that there is, with all the hook's arguments in their order.

    :raises InvalidArgError: there is none that decides.
    """
    callers = {
        name: _positional(getattr(manager.hook, name), names) for name, names in batching.HOOKS.items()
    }
    found = {name: caller for name, caller in callers.items() if caller is not None}
    if found and "batch_include" not in found:
        raise InvalidArgError(f"there is a hook '{next(iter(found))}' but no batch_include(batch, request)")
    return found


def _positional(hook: Any, arguments: tuple[str, ...]) -> Callable[..., Any] | None:
    implementations = hook.get_hookimpls()
    if not implementations:
        return None
    if len(implementations) > 1:
        return lambda *given: hook(**dict(zip(arguments, given, strict=True)))
    function, names = implementations[0].function, tuple(implementations[0].argnames)
    if names == arguments:
        return function  # type: ignore[no-any-return]
    wanted = [arguments.index(name) for name in names]
    return lambda *given: function(*[given[i] for i in wanted])


def _call_hook(hook: Any, instance: ModelInstance, requests: list[Any]) -> Any:
    return hook(instance=instance, requests=requests)


def _manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.load_setuptools_entrypoints(hookspecs.PROJECT)
    return manager


class _Subset:
    """Some of an object's hooks, with a name that error messages can use."""

    def __init__(self, owner: Any, hooks: tuple[str, ...]) -> None:
        self.__name__ = getattr(owner, "__name__", type(owner).__name__)
        for name, function in _hooks(owner):
            if name in hooks:
                setattr(self, name, function)
            elif name not in _spec_names():
                close = difflib.get_close_matches(name, _spec_names(), n=1)
                advice = f"did you mean '{close[0]}'?" if close else f"there are {', '.join(_spec_names())}"
                raise InvalidArgError(f"{self.__name__} has a hook '{name}' that does not exist; {advice}")


def _hooks(owner: Any) -> Iterator[tuple[str, Any]]:
    for name in dir(owner):
        raw = inspect.getattr_static(owner, name, None)
        if isinstance(raw, (staticmethod, classmethod)) and hasattr(raw, _MARK):
            setattr(raw.__func__, _MARK, getattr(raw, _MARK))  # where @hookimpl stands above @staticmethod
        value = getattr(owner, name, None)
        if inspect.isroutine(value) and hasattr(value, _MARK):
            yield name, value


def _register(manager: pluggy.PluginManager, hooks: _Subset) -> None:
    try:
        manager.register(hooks)
    except pluggy.PluginValidationError:
        raise InvalidArgError(_mismatch(hooks)) from None


def _mismatch(hooks: _Subset) -> str:
    for name, function in vars(hooks).items():
        if name not in _spec_names():
            continue
        spec = getattr(hookspecs, name)
        wanted, given = list(inspect.signature(spec).parameters), list(inspect.signature(function).parameters)
        if not set(given) <= set(wanted):
            can, does = ", ".join(wanted), ", ".join(given)
            return f"{hooks.__name__}: hook '{name}' can take ({can}); yours takes ({does})"
    return f"{hooks.__name__}: a hook does not match its specification"


def _spec_names() -> tuple[str, ...]:
    return tuple(
        name for name, value in vars(hookspecs).items() if hasattr(value, f"{hookspecs.PROJECT}_spec")
    )


def _has_hook(owner: Any, name: str) -> bool:
    return any(found == name for found, _ in _hooks(owner))


def _plugin_class(module: ModuleType) -> type | None:
    classes = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and value.__module__ == module.__name__ and _has_hook(value, "execute")
    ]
    if len(classes) > 1:
        names = ", ".join(cls.__name__ for cls in classes)
        raise InvalidArgError(
            f"{module.__file__} has several classes with an execute hook ({names}); keep one"
        )
    return classes[0] if classes else None


def _signature(module: ModuleType, cls: type | None) -> Signature | None:
    names = dict(vars(module))
    if cls is not None:
        for owner in reversed(cls.__mro__):
            names |= {f"{cls.__name__}.{name}": value for name, value in vars(owner).items()}
    found = {name: value for name, value in names.items() if isinstance(value, Signature)}
    if len({id(signature) for signature in found.values()}) > 1:
        raise InvalidArgError(f"{module.__file__} has several Signatures ({', '.join(found)}); keep one")
    return next(iter(found.values()), None)


def _no_execute(module: ModuleType) -> str:
    found = [name for name, _ in _hooks(module)]
    hint = "add `@hookimpl` above `def execute(requests):` (from triton_backend_sdk import hookimpl)"
    for name in difflib.get_close_matches("execute", found, n=1):
        hint = f"it has a hook '{name}': did you mean 'execute'?"
    return f"no execute hook found in {module.__file__}: {hint}"
