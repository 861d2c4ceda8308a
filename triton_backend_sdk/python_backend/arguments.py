"""What a model is told about itself."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from triton_backend_sdk.python_backend.owner import current

if TYPE_CHECKING:
    from triton_backend_sdk import Model, ModelInstance
    from triton_backend_sdk.python_backend.owner import PythonModel


def model_dir(model: Model) -> str:
    """Give what ``get_model_dir`` gives: the folder of the version, where its Python file lies."""
    name = model.config.get("default_model_filename") or "model.py"
    return str((model.version_directory / name).parent)


def initialize_arguments(instance: ModelInstance) -> dict[str, str]:
    """Give what the model's ``initialize`` is called with: all are str."""
    model = instance.model
    return {
        "model_config": json.dumps(model.config, separators=(",", ":")),
        "model_instance_kind": instance.kind.name,
        "model_instance_name": instance.name,
        "model_instance_device_id": str(instance.device_id),
        "model_repository": str(model.directory),
        "model_version": str(model.version),
        "model_name": model.name,
    }


def names(owner: PythonModel | None) -> dict[str, Any]:
    """Give what the utils module has of this file."""
    if owner is None:
        return {"get_model_dir": lambda: model_dir(current().model)}
    directory = model_dir(owner.model)
    return {"get_model_dir": lambda: directory}
