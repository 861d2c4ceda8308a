"""What `import triton_python_backend_utils` gives: in a model's own files a module that knows whose it is."""

from __future__ import annotations

import json
import struct
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from triton_backend_sdk.python_backend import (
    arguments,
    datatypes,
    infer_request,
    infer_response,
    inference_trace,
    model_loader,
    pb_error,
    pb_logger,
    pb_metrics,
    pb_model_config,
    preferred_memory,
    response_iterator,
    response_sender,
    tensor,
)

if TYPE_CHECKING:
    from triton_backend_sdk.python_backend.owner import PythonModel

#: The files that contribute: each has ``names(owner)``, a dict of what the module holds of it. The owner is
#: None for the module that belongs to no model.
PARTS: tuple[Any, ...] = (
    datatypes,
    pb_error,
    tensor,
    infer_request,
    infer_response,
    response_sender,
    response_iterator,
    preferred_memory,
    inference_trace,
    model_loader,
    pb_logger,
    pb_metrics,
    pb_model_config,
    arguments,
)

_PACKAGE = __name__.rpartition(".")[0]
#: Where the stock backend has its classes: most are written in C++.
_PYTHON, _CPP = "triton_python_backend_utils", "c_python_backend_utils"

TRITONSERVER_REQUEST_FLAG_SEQUENCE_START = 1
TRITONSERVER_REQUEST_FLAG_SEQUENCE_END = 2
TRITONSERVER_RESPONSE_COMPLETE_FINAL = 1
TRITONSERVER_REQUEST_RELEASE_ALL = 1
TRITONSERVER_REQUEST_RELEASE_RESCHEDULE = 2


def build(owner: PythonModel | None) -> ModuleType:
    """Make the module that belongs to a model, or to none."""
    module = ModuleType("triton_python_backend_utils", "What a model.py works with.")
    module.__spec__ = ModuleSpec(
        module.__name__, None
    )  # else find_spec raises, by which libraries look what is there
    space = vars(module)
    space.update((name, value) for name, value in globals().items() if name.startswith("TRITONSERVER_"))
    for part in PARTS:
        space.update(part.names(owner))
    for name, value in space.items():
        if isinstance(value, type) and value.__module__.startswith(_PACKAGE):
            value.__module__ = _PYTHON if name == "ModelConfig" else _CPP  # clients see it in messages
    space.update(np=np, json=json, struct=struct)  # the stock module has these too, and models use them
    if owner is not None:
        owner.utils = module
        owner.request_class = module.InferenceRequest
    return module
