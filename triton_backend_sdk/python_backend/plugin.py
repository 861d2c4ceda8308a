"""The hooks that serve a ``model.py``: an object of the class per instance."""

from __future__ import annotations

import gc
import logging
from types import ModuleType
from typing import Any

from triton_backend_sdk import (
    Backend,
    InternalError,
    Model,
    ModelConfig,
    ModelInstance,
    Request,
    TritonError,
    hookimpl,
)
from triton_backend_sdk.python_backend import (
    input_memory,
    notices,
    pb_model_config,
    readiness,
    utils_module,
    writes,
)
from triton_backend_sdk.python_backend.arguments import initialize_arguments
from triton_backend_sdk.python_backend.execution import Execution
from triton_backend_sdk.python_backend.model_file import model_file
from triton_backend_sdk.python_backend.owner import PythonModel
from triton_backend_sdk.python_backend.pb_error import told
from triton_backend_sdk.python_backend.scope import Scope

#: What a model imports to work with; the second is the part of the stock backend's that is written in C++.
UTILS = ("triton_python_backend_utils", "c_python_backend_utils")


class PythonBackend:
    """Serves ``<version>/model.py`` of each model: all that a plugin.py needs is a class made from it."""

    _owner: PythonModel
    _model: Any = None
    _call: Execution

    @hookimpl
    @staticmethod
    def backend_initialize(backend: Backend) -> None:
        """Say once what is different in process."""
        for line in notices.backend_notices(backend.config):
            logging.getLogger(f"triton.{backend.name}").info(line)

    @hookimpl
    @classmethod
    def auto_complete_config(cls, model: Model, config: ModelConfig) -> None:
        """Call the model's auto_complete_config, in modules of its own."""
        input_memory.forces_cpu(model)
        notices.prepare(model)
        owner = PythonModel(model, None)
        utils_module.build(owner)
        try:
            with owner.active():
                pb_model_config.auto_complete(cls._model_class(owner), model.name, config)
        except TritonError:
            raise
        except BaseException as error:
            notices.tell_missing(model, error)
            raise InternalError(told(error)) from error  # whose traceback goes to the log
        finally:
            owner.close()
            del owner
            gc.collect()  # a module and its functions are a cycle, which may hold weights

    @hookimpl
    @staticmethod
    def model_initialize(model: Model) -> None:
        """Say what the model cannot have in process, and where its inputs shall lie."""
        notices.prepare(model)
        input_memory.keep_on_cpu(model)

    @hookimpl
    def initialize(self, instance: ModelInstance) -> None:
        """Import model.py, make a TritonPythonModel and call its initialize."""
        instance.outputs_as_given = True
        self._owner = owner = PythonModel(instance.model, instance)
        utils_module.build(owner)
        try:
            with owner.active():
                model_class = self._model_class(owner)
                writes.decide(owner, model_class)
                self._model = model_class()
                if hasattr(self._model, "initialize"):
                    self._model.initialize(initialize_arguments(instance))
        except BaseException as error:
            owner.close()
            if isinstance(error, TritonError):
                raise
            notices.tell_missing(instance.model, error)
            raise InternalError(told(error)) from error  # whose traceback goes to the log
        self._call = Execution(owner, self._model)

    @hookimpl
    def execute(self, requests: list[Request]) -> list[Any]:
        """Answer a batch with what the model's execute makes of it."""
        return self._call(requests)

    @hookimpl
    def is_ready(self) -> Any:
        """Ask the model, if it has something to say."""
        if not hasattr(self._model, "is_ready"):
            return NotImplemented
        with self._owner.active():
            answer = readiness.is_ready(self._model)
        return answer if isinstance(answer, bool) else self._call.result(answer)

    @hookimpl
    def finalize(self) -> None:
        """Call the model's finalize."""
        try:
            self._call.stop()
            with self._owner.active():
                if hasattr(self._model, "finalize"):
                    self._model.finalize()
        finally:
            self._owner.close()

    @classmethod
    def _model_class(cls, owner: PythonModel) -> Any:
        return _load(owner).TritonPythonModel


def _load(owner: PythonModel) -> ModuleType:
    model = owner.model
    path = model_file(model)
    assert owner.utils is not None
    folder = model.directory if path.parent == model.version_directory else path.parent
    given = dict.fromkeys(UTILS, owner.utils)
    scope = owner.scope = Scope(owner.name, path.parent, folder, model.backend.directory, given)
    return scope.load(path.stem)
