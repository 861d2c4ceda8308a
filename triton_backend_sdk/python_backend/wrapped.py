"""A class that was written for Triton's Python backend, as a plugin."""

from __future__ import annotations

import sys
from typing import Any, ClassVar

from triton_backend_sdk.python_backend import utils_module
from triton_backend_sdk.python_backend.owner import PythonModel
from triton_backend_sdk.python_backend.plugin import UTILS, PythonBackend

# A plugin imports this before the module with the class, which imports these. They belong to no model: a call
# is of the model whose code the thread runs.
for _name in UTILS:
    sys.modules.setdefault(_name, utils_module.build(None))


class PythonModelPlugin(PythonBackend):
    """The hooks of a plugin that wraps a ``TritonPythonModel``, named as ``model_class``.

    Instances share the class and its module, as those of any plugin do; each has an object of its own.
    """

    #: The class.
    model_class: ClassVar[type]

    @classmethod
    def _model_class(cls, owner: PythonModel) -> Any:
        return cls.model_class
