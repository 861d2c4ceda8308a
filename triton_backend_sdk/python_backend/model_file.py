"""Where the class TritonPythonModel of a model is."""

from __future__ import annotations

from pathlib import Path

from triton_backend_sdk import InternalError, Model


def model_file(model: Model) -> Path:
    """Give the file with the code of a model: in its version's folder, or the model.py that is its backend.

    :raises InternalError: there is none, in the words of Triton's own Python backend.
    """
    # A folder of backends may hold a model.py in place of a library: all models of that backend run it.
    backend = model.backend
    own = backend.directory / "model.py"
    if backend.directory.name == backend.name and own.is_file():
        return own
    path = model.version_directory / (model.config.get("default_model_filename") or "model.py")
    if not path.is_file():
        raise InternalError(f"Python model file not found in '{path}'")
    if path.suffix != ".py":
        raise InternalError(f"Model name must end with '.py'. Model name is \"{path.name}\".")
    return path
