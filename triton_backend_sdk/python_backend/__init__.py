"""Serve models written for Triton's Python backend, in the server's process.

A backend's plugin.py that serves any model directory with a ``<version>/model.py`` in it::

    from triton_backend_sdk.python_backend import PythonBackend

    class Backend(PythonBackend):
        \"\"\"The Python backend.\"\"\"

And one that wraps a class of that kind::

    from triton_backend_sdk.python_backend import PythonModelPlugin
    from .model import TritonPythonModel

    class Plugin(PythonModelPlugin):
        model_class = TritonPythonModel
"""

from triton_backend_sdk.python_backend.plugin import PythonBackend
from triton_backend_sdk.python_backend.wrapped import PythonModelPlugin

__all__ = ["PythonBackend", "PythonModelPlugin"]
