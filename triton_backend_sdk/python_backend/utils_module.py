"""What `import triton_python_backend_utils` gives: in a model's own files a module that knows whose it is."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from triton_backend_sdk.python_backend.owner import PythonModel

#: The files that contribute: each has ``names(owner)``, a dict of what the module holds of it. The owner is
#: None for the module that belongs to no model.
PARTS = ("datatypes", "pb_error", "tensor", "infer_request", "infer_response", "response_sender",
         "response_iterator", "preferred_memory", "inference_trace", "model_loader", "pb_logger",
         "pb_metrics", "pb_model_config", "arguments")  # fmt: skip
_HERE = __name__.rpartition(".")[0]

TRITONSERVER_REQUEST_FLAG_SEQUENCE_START = 1
TRITONSERVER_REQUEST_FLAG_SEQUENCE_END = 2
TRITONSERVER_RESPONSE_COMPLETE_FINAL = 1
TRITONSERVER_REQUEST_RELEASE_ALL = 1
TRITONSERVER_REQUEST_RELEASE_RESCHEDULE = 2


def build(owner: PythonModel | None) -> ModuleType:
    """Make the module that belongs to a model, or to none."""
    module = ModuleType("triton_python_backend_utils", "What a model.py works with.")
    space = vars(module)
    space.update((name, value) for name, value in globals().items() if name.startswith("TRITONSERVER_"))
    space["get_input_tensor_by_name"] = get_input_tensor_by_name
    space["get_output_tensor_by_name"] = get_output_tensor_by_name
    for part in PARTS:
        try:
            found = importlib.import_module(f"{_HERE}.{part}")
        except ModuleNotFoundError as error:
            if error.name != f"{_HERE}.{part}":
                raise
            continue
        if hasattr(found, "names"):
            space.update(found.names(owner))
    if owner is not None:
        owner.utils = module
        owner.request_class = module.InferenceRequest
    return module


def get_input_tensor_by_name(inference_request: Any, name: str) -> Any:
    """Give an input of a request, or None."""
    for tensor in inference_request.inputs():
        if tensor.name() == name:
            return tensor
    return None


def get_output_tensor_by_name(inference_response: Any, name: str) -> Any:
    """Give an output of a response, or None."""
    for tensor in inference_response.output_tensors():
        if tensor.name() == name:
            return tensor
    return None
