"""C34: libraries of custom operations."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from triton_backend_sdk.tools.check.finding import Finding
from triton_backend_sdk.tools.check.libraries import has_symbol, loader_finds
from triton_backend_sdk.tools.check.repository import ModelDirectory
from triton_backend_sdk.tools.check.rules import Context, Rule, config_rule, declare

C34 = declare("C34", "a library of custom operations that cannot be loaded", phase="load")
#: Backends that hand the name to the system's loader as it is, and those that do not look at it.
_VERBATIM, _IGNORE = ("onnxruntime", "tensorflow"), ("pytorch", "tensorrt")
#: What ONNX Runtime calls in it.
_ENTRY = "RegisterCustomOps"
_MODEL_DIRECTORY = "$$TRITON_MODEL_DIRECTORY/"


@config_rule(C34)
def check_operations(self: Rule, model: ModelDirectory, context: Context) -> Iterator[Finding]:
    """Look for what ``model_operations.op_library_filename`` names."""
    names = model.message.model_operations.op_library_filename
    completed = context.completed(model)
    if not names or completed is None:
        return
    backend = completed.backend
    for index, name in enumerate(names):
        path = ("model_operations", "op_library_filename", index)
        if backend in _IGNORE:
            message = f"backend '{backend}' does not look at op_library_filename"
            mend = f"tbsdk serve --preload {name}"
            yield self.of(model, path, message, mend=mend, severity="warning")
            continue
        found = _verbatim(name) if backend in _VERBATIM else _resolved(model, name)
        if found is None:
            yield _not_found(self, model, path, name, verbatim=backend in _VERBATIM)
        elif backend == "onnxruntime" and isinstance(found, Path) and not has_symbol(found, _ENTRY):
            said = f"{found} has no {_ENTRY}: it is no library of operations for ONNX Runtime"
            yield self.of(model, path, said, mend=f"take it out, or build it with a function {_ENTRY}")
        elif backend == "onnxruntime" and name in list(names)[:index]:
            said = f"{name} is named twice, and its operations would meet themselves"
            yield self.of(model, path, said, mend="name it once")


def _verbatim(name: str) -> Path | bool | None:
    """Find a library as the loader does, started where we are: True where only the loader knows the place."""
    if "/" in name:
        return Path(name) if Path(name).is_file() else None
    return loader_finds(name) or None


def _resolved(model: ModelDirectory, name: str) -> Any:
    """Find a library as the SDK's backends do: beside the model too."""
    if name.startswith(_MODEL_DIRECTORY):
        places = [model.path / name.removeprefix(_MODEL_DIRECTORY)]
    elif name.startswith("/"):
        places = [Path(name)]
    else:
        places = [*(model.version_path(version) / name for version in model.served), model.path / name]
        places += [Path(name)] if "/" in name else []
    found = next((place for place in places if place.is_file()), None)
    return found or ("/" not in name and loader_finds(name)) or None


def _not_found(
    self: Rule, model: ModelDirectory, path: tuple[str | int, ...], name: str, *, verbatim: bool
) -> Finding:
    beside = _resolved(model, name) if verbatim else None
    mend = "name it in full"
    if isinstance(beside, Path):
        mend = f'op_library_filename: "{beside.absolute()}"'
    where = (
        "the folder in which the server is started"
        if "/" in name
        else "LD_LIBRARY_PATH and the system's folders"
    )
    if not verbatim:
        where = "the version's folder, the model's, " + where
    where = "there" if name.startswith("/") else where
    return self.of(
        model,
        path,
        f"library '{name}' is not in {where}" if where != "there" else f"there is no {name}",
        mend=mend,
        severity=None if verbatim else "warning",  # it depends on the backend whether anything looks for it
    )
