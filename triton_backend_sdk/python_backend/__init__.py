"""Serve models written for Triton's Python backend, in the server's process.

A backend's plugin.py that serves any model directory with a ``<version>/model.py`` in it::

    from triton_backend_sdk.python_backend import PythonBackend

    class Backend(PythonBackend):
        \"\"\"The Python backend.\"\"\"
"""

from triton_backend_sdk.python_backend.plugin import PythonBackend

__all__ = ["PythonBackend"]
