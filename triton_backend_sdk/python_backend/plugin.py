"""The hooks that serve a ``model.py``: an object of the class per instance."""

from __future__ import annotations

import importlib.util
import itertools
import sys
import threading
from types import ModuleType
from typing import Any

from triton_backend_sdk import InternalError, ModelInstance, Request, TritonError, hookimpl
from triton_backend_sdk.python_backend import utils_module
from triton_backend_sdk.python_backend.execution import Execution
from triton_backend_sdk.python_backend.model_file import model_file
from triton_backend_sdk.python_backend.owner import PythonModel
from triton_backend_sdk.python_backend.pb_error import told

_numbers = itertools.count()
_importing = threading.Lock()
UTILS = "triton_python_backend_utils"


class PythonBackend:
    """Serves ``<version>/model.py`` of each model: all that a plugin.py needs is a class made from it."""

    _owner: PythonModel
    _model: Any = None
    _call: Execution

    @hookimpl
    def initialize(self, instance: ModelInstance) -> None:
        """Import model.py, make a TritonPythonModel and call its initialize."""
        instance.outputs_as_given = True
        self._owner = owner = PythonModel(instance.model, instance)
        utils_module.build(owner)
        try:
            with owner.active():
                self._model = self._model_class()()
                if hasattr(self._model, "initialize"):
                    self._model.initialize(_arguments(instance))
        except BaseException as error:
            owner.close()
            if isinstance(error, TritonError):
                raise
            raise InternalError(told(error)) from None
        self._call = Execution(owner, self._execute)

    @hookimpl
    def execute(self, requests: list[Request]) -> list[Any]:
        """Answer a batch with what the model's execute makes of it."""
        return self._call(requests)

    @hookimpl
    def finalize(self) -> None:
        """Call the model's finalize."""
        try:
            with self._owner.active():
                if hasattr(self._model, "finalize"):
                    self._model.finalize()
        finally:
            self._owner.close()

    def _execute(self, requests: list[Any]) -> Any:
        return self._model.execute(requests)

    def _model_class(self) -> Any:
        return _load(self._owner).TritonPythonModel


def _load(owner: PythonModel) -> ModuleType:
    path = model_file(owner.model)
    name = f"{owner.name}@{next(_numbers)}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    assert owner.utils is not None
    with _importing:
        before = sys.modules.get(UTILS)
        sys.modules[UTILS] = owner.utils
        try:
            spec.loader.exec_module(module)
        finally:
            if before is None:
                del sys.modules[UTILS]
            else:
                sys.modules[UTILS] = before
    return module


def _arguments(instance: ModelInstance) -> dict[str, str]:
    import json  # noqa: PLC0415  for now

    return {
        "model_config": json.dumps(instance.model.config),
        "model_instance_kind": instance.kind.name,
        "model_instance_name": instance.name,
        "model_instance_device_id": str(instance.device_id),
        "model_repository": str(instance.model.directory),
        "model_version": str(instance.model.version),
        "model_name": instance.model.name,
    }
