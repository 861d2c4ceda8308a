"""What Triton's lifecycle calls do: backends, models and instances are made, and let go.

C calls these through cffi (``_ffi/decl/exports.h``); a batch goes another way (``_ffi/src/execute.c``).
"""

from __future__ import annotations

import contextlib
import functools
import gc
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pluggy

from triton_backend_sdk import attributes, failure, loading, tracing, triton_log
from triton_backend_sdk._ffi.api import Api
from triton_backend_sdk.batcher import ModelBatcher
from triton_backend_sdk.caretaker import Caretaker
from triton_backend_sdk.configure import configure
from triton_backend_sdk.enums import InstanceGroupKind
from triton_backend_sdk.lifecycle import InstanceLife
from triton_backend_sdk.loading import PluginPackage
from triton_backend_sdk.memory import Pool
from triton_backend_sdk.metric_registry import MetricRegistry
from triton_backend_sdk.metrics import Metrics
from triton_backend_sdk.model import Backend, Model
from triton_backend_sdk.model_instance import ModelInstance
from triton_backend_sdk.placement import wishes
from triton_backend_sdk.plugins import Plugin
from triton_backend_sdk.sender_watch import SenderWatch
from triton_backend_sdk.states import read_sequences
from triton_backend_sdk.triton_metrics import TritonStore
from triton_backend_sdk.watchdog import Watchdogs

logger = logging.getLogger("triton")


@dataclass
class _LoadedBackend:
    backend: Backend
    package: PluginPackage
    #: Of its tbsdk.conf.
    settings: dict[str, str]
    #: Triton loads several models at a time.
    starting: threading.Lock = field(default_factory=threading.Lock)
    #: Once backend_initialize has run.
    hooks: Any = None

    def start(self, plugin: Plugin) -> None:
        """Run backend_initialize, before the first model."""
        with self.starting:
            if self.hooks is None:
                hooks = plugin.backend_manager().hook
                hooks.backend_initialize(backend=self.backend)
                self.hooks = hooks


@dataclass
class _LoadedModel:
    model: Model
    plugin: Plugin
    manager: pluggy.PluginManager
    batcher: ModelBatcher


@dataclass
class _LoadedInstance:
    life: InstanceLife
    #: Of the C side's tb_instance.
    address: int


def entrypoint(function: Callable[..., None]) -> Callable[..., Any]:
    """Make an exception a TRITONSERVER_Error: nothing may be raised into C."""

    @functools.wraps(function)
    def guarded(runtime: Runtime, *handles: Any) -> Any:
        tracing.follow()
        try:
            function(runtime, *handles)
        except BaseException as error:
            code, message = failure.code_and_message(error)
            with contextlib.suppress(BaseException):  # else cffi would return NULL, which is success
                text = failure.in_full(message, error)
                logger.error(
                    "%s%s failed: %s", runtime.subject(function, handles[0]), function.__name__, text
                )
            return runtime.api.error(code, message)
        return runtime.api.ffi.NULL

    return guarded


class Runtime:
    """The Python side of every backend in this process, known by Triton's handles."""

    def __init__(self, api: Api, hot: Any) -> None:
        self.api = api
        self._hot = hot
        self.caretaker = Caretaker()
        SenderWatch(hot, self.caretaker)
        self._watchdogs = Watchdogs(self.caretaker, watch_gil=bool(api.lib.tb_owns_interpreter()))
        self._metrics = MetricRegistry(TritonStore(api, hot.Series))
        self._backends: dict[int, _LoadedBackend] = {}
        self._models: dict[int, _LoadedModel] = {}
        self._instances: dict[int, _LoadedInstance] = {}

    def subject(self, function: Callable[..., None], handle: Any) -> str:
        """Name the model or instance that a call of Triton's is about, for the log."""
        lib, kind = self.api.lib, function.__name__.split("_")[0]
        getters = {"model": lib.TRITONBACKEND_ModelName, "instance": lib.TRITONBACKEND_ModelInstanceName}
        return f"{self.api.text(getters[kind], handle)}: " if kind in getters else ""

    @entrypoint
    def initialize(self, handle: Any) -> None:
        """See TRITONBACKEND_Initialize. It runs under a lock of the server's; plugins are imported later."""
        api, lib = self.api, self.api.lib
        triton_log.install(api)
        config = api.backend_config(handle).get("cmdline", {})
        name = api.text(lib.TRITONBACKEND_BackendName, handle)
        directory = Path(api.path(lib.TRITONBACKEND_BackendArtifacts, handle))
        home = loading.built(directory)
        settings = attributes.read_settings(home)
        attributes.set_policy(api, handle, settings)
        self._backends[api.address(handle)] = _LoadedBackend(
            Backend(name, config, directory, _api=api, _handle=handle),
            PluginPackage(name if home == directory else home.name, home),
            settings,
        )

    @entrypoint
    def backend_attribute(self, handle: Any, target: Any) -> None:
        """See TRITONBACKEND_GetBackendAttribute."""
        attributes.fill(self.api, target, self._backends[self.api.address(handle)].settings)

    @entrypoint
    def finalize(self, handle: Any) -> None:
        """See TRITONBACKEND_Finalize."""
        loaded = self._backends.pop(self.api.address(handle))
        if loaded.hooks is not None:
            loaded.hooks.backend_finalize(backend=loaded.backend)

    @entrypoint
    def model_initialize(self, handle: Any) -> None:
        """See TRITONBACKEND_ModelInitialize."""
        api, lib = self.api, self.api.lib
        loaded = self._backends[
            api.address(api.get(lib.TRITONBACKEND_ModelBackend, handle, "TRITONBACKEND_Backend *"))
        ]
        name = api.text(lib.TRITONBACKEND_ModelName, handle)
        version = int(api.get(lib.TRITONBACKEND_ModelVersion, handle, "uint64_t"))
        model = Model(
            name=name,
            version=version,
            directory=Path(api.path(lib.TRITONBACKEND_ModelRepository, handle)),
            config=api.model_config(handle),
            backend=loaded.backend,
            metrics=Metrics(self._metrics, name, version),
            _api=api,
            _handle=handle,
        )
        try:
            model._served = functools.partial(self._is_served, handle, model)
            plugin = Plugin(loaded.package.load(), model.is_served)
            loaded.start(plugin)
            manager = plugin.model_manager()
            configure(api, model, plugin.signature, manager.hook)
            with model.server.hook():
                manager.hook.model_initialize(model=model)
            batcher = ModelBatcher(api, self._hot, model, manager, functools.partial(_log_hook, model))
        except BaseException:
            model.let_go()
            raise
        self._models[api.address(handle)] = _LoadedModel(model, plugin, manager, batcher)

    @entrypoint
    def model_finalize(self, handle: Any) -> None:
        """See TRITONBACKEND_ModelFinalize. Triton also calls it when model_initialize failed."""
        loaded = self._models.pop(self.api.address(handle), None)
        if loaded is None:
            return
        try:
            loaded.batcher.close()
            with loaded.model.server.hook():
                loaded.manager.hook.model_finalize(model=loaded.model)
        finally:
            loaded.plugin.close()
            loaded.model.let_go()
            del loaded
            gc.collect()  # cycles may hold weights, and views that keep requests

    @entrypoint
    def instance_initialize(self, handle: Any) -> None:
        """See TRITONBACKEND_ModelInstanceInitialize."""
        api, lib = self.api, self.api.lib
        loaded = self._models[
            api.address(api.get(lib.TRITONBACKEND_ModelInstanceModel, handle, "TRITONBACKEND_Model *"))
        ]
        sequences = read_sequences(loaded.model.config)
        instance = ModelInstance(
            name=api.text(lib.TRITONBACKEND_ModelInstanceName, handle),
            kind=InstanceGroupKind(
                api.get(lib.TRITONBACKEND_ModelInstanceKind, handle, "TRITONSERVER_InstanceGroupKind")
            ),
            device_id=int(api.get(lib.TRITONBACKEND_ModelInstanceDeviceId, handle, "int32_t")),
            model=loaded.model,
            _api=api,
            _handle=handle,
            _pool=Pool(self._hot, self._memory_manager(loaded.model)),
        )
        guard = loaded.batcher.guard
        prepare = guard if lib.tb_owns_interpreter() else lambda execute: tracing.following(guard(execute))
        wished = tuple((name, *place) for name, place in wishes(instance).items())
        life = InstanceLife(loaded.plugin, instance, self._watchdogs)
        try:
            with loaded.model.server.hook():
                life.start()
        except BaseException:
            instance.let_go()
            raise
        address = None
        try:
            address = self._hot.bind(
                api.address(handle),
                instance,
                life.execute(prepare),
                functools.partial(failure.describe, instance),
                loaded.model.max_batch_size > 0,
                loaded.model.decoupled,
                instance.outputs_as_given,
                tuple((spec.name, spec.dtype.c_value, spec.dims) for spec in loaded.model.outputs),
            )
            self._hot.place(address, next(iter(instance.host_policy), ""), wished)
            if sequences is not None:
                self._hot.bind_sequences(address, *sequences.as_c())
        except BaseException:
            if address is not None:
                self._hot.unbind(address)
            life.stop()
            instance.let_go()
            raise
        self._instances[api.address(handle)] = _LoadedInstance(life, address)
        life.tell_own_thread(self._hot.sit, address)
        life.watch(functools.partial(self._tell_ready, address))

    @entrypoint
    def instance_finalize(self, handle: Any) -> None:
        """See TRITONBACKEND_ModelInstanceFinalize. Triton also calls it when instance_initialize failed."""
        loaded = self._instances.pop(self.api.address(handle), None)
        if loaded is None:
            return
        try:
            with loaded.life.instance.model.server.hook():
                loaded.life.stop()
        finally:
            loaded.life.instance.let_go()
            self._hot.unbind(loaded.address)

    def _memory_manager(self, model: Model) -> int:
        api = self.api
        manager = "TRITONBACKEND_MemoryManager *"
        return api.address(
            api.get(api.lib.TRITONBACKEND_BackendMemoryManager, model.backend._handle, manager)
        )

    def _is_served(self, handle: Any, model: Model) -> bool:
        """Tell whether Triton still sends requests to a model, rather than waiting to unload it."""
        versions = [loaded for loaded in list(self._models.values()) if _same(loaded.model, model)]
        own = next((i for i, loaded in enumerate(versions) if loaded.model is model), len(versions))
        if any(self._is_complete(newer.model) for newer in versions[own + 1 :]):
            return False
        return bool(self.api.serves(handle, model.name, model.version))

    def _is_complete(self, model: Model) -> bool:
        groups = model.config.get("instance_group", [])
        wanted: int = sum(group.get("count", 1) * max(len(group.get("gpus", [])), 1) for group in groups)
        return sum(loaded.life.instance.model is model for loaded in list(self._instances.values())) >= wanted

    def _tell_ready(self, address: int, message: str | None, seconds: float) -> None:
        text = self.api.ffi.NULL if message is None else message.encode(errors="replace")
        self.api.lib.tb_set_ready(address, text, seconds)


def _log_hook(model: Model, hook: str, error: BaseException) -> None:
    message = failure.code_and_message(error)[1]
    model.logger.error("%s: %s failed: %s", model.name, hook, failure.in_full(message, error))


def _same(one: Model, other: Model) -> bool:
    return (one.name, one.version, one.directory) == (other.name, other.version, other.directory)
