"""The life of an instance, from its first hook to its last, in Triton or in the fake host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from triton_backend_sdk.enums import InstanceGroupKind
from triton_backend_sdk.instance_thread import InstanceThread, streams_on, wants_own_thread
from triton_backend_sdk.model_instance import ModelInstance
from triton_backend_sdk.plugins import Execute, Plugin, execute_caller
from triton_backend_sdk.readiness import Readiness, Tell, why_not_ready
from triton_backend_sdk.watchdog import Watchdogs

T = TypeVar("T")


class InstanceLife:
    """Runs an instance's hooks, in their order and on their thread.

    1. ``start``: a class is instantiated, ``initialize``, ``warmup``.
    2. ``watch``: ``is_ready`` is asked from now on, if there is one.
    3. ``execute`` of each batch.
    4. ``stop``: ``is_ready`` is asked no more, ``finalize``.
    """

    def __init__(self, plugin: Plugin, instance: ModelInstance, watchdogs: Watchdogs) -> None:
        self.instance = instance
        self._plugin = plugin
        self._watchdogs = watchdogs
        self._readiness: Readiness | None = None
        own = wants_own_thread(instance.model)
        self._thread = InstanceThread(instance.name, instance._pool.hot) if own else None

    def start(self) -> None:
        """Bring the instance up; whatever a hook raises is raised, and nothing of the instance is left."""
        try:
            self._manager = self._run(self._plugin.instance_manager, self.instance, self._watchdogs)
            self._run(self._manager.hook.initialize, instance=self.instance)
        except BaseException:
            self._end_thread()
            raise
        try:
            self._run(self._manager.hook.warmup, instance=self.instance)
        except BaseException:
            self.stop()  # what initialize made is let go of
            raise

    def execute(self, prepare: Callable[[Execute], Execute] = lambda execute: execute) -> Execute:
        """Give what is called with a batch; ``prepare`` wraps what runs on the instance's thread."""
        execute = prepare(_waiting(self.instance, execute_caller(self._manager, self.instance)))
        thread = self._thread
        if thread is None:
            return execute
        if self.instance.model.decoupled:
            execute = streams_on(thread, execute)
        return lambda requests: thread.call(execute, requests)

    def tell_own_thread(self, function: Callable[..., object], *arguments: Any) -> None:
        """Call a function there, where the instance has a thread of its own."""
        if self._thread is not None:
            self._thread.call(function, *arguments)

    def watch(self, tell: Tell) -> None:
        """Ask ``is_ready`` from now on, where the plugin has one; ``tell`` takes each answer."""
        hook = self._manager.hook.is_ready
        if hook.get_hookimpls():
            self._readiness = Readiness(hook, self.instance, tell)
            self._readiness.start()

    def not_ready(self) -> str | None:
        """Ask ``is_ready`` now: why the instance takes no requests, or None."""
        return why_not_ready(self._manager.hook.is_ready, self.instance)

    def stop(self) -> None:
        """Take the instance down; what finalize raises is raised when all is done."""
        if self._readiness is not None:
            self._readiness.stop()
        self.instance._drain()
        try:
            self._run(self._manager.hook.finalize, instance=self.instance)
            if self.instance._stream is not None:
                self._run(self.instance._stream.close)
        finally:
            self._end_thread()

    def _run(self, function: Callable[..., T], *arguments: Any, **keywords: Any) -> T:
        if self._thread is None:
            return function(*arguments, **keywords)
        return self._thread.call(function, *arguments, **keywords)

    def _end_thread(self) -> None:
        if self._thread is not None:
            self._thread.stop()


def _waiting(instance: ModelInstance, execute: Execute) -> Execute:
    """Let a GPU instance's responses wait for its CUDA stream; others pay nothing for it."""
    if instance.kind is not InstanceGroupKind.GPU:
        return execute

    def call(requests: list[Any]) -> Any:
        try:
            return execute(requests)
        finally:
            if instance._stream is not None:
                instance._stream.synchronize()

    return call
