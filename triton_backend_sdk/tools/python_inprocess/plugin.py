"""Serve ``<version>/model.py`` of any model, as Triton's Python backend does, in the server's process."""

from triton_backend_sdk.python_backend import PythonBackend


class Plugin(PythonBackend):
    """All there is: the hooks are the SDK's own."""
