"""What Triton makes of a config before it asks any backend: backend, platform and the model's file."""

from __future__ import annotations

from dataclasses import dataclass

from triton_backend_sdk.tools.check.repository import Entries, ModelDirectory
from triton_backend_sdk.tools.installation import STUB


@dataclass(frozen=True)
class Completed:
    """The three fields."""

    backend: str
    platform: str
    filename: str


@dataclass(frozen=True)
class _Kind:
    """A framework that Triton knows by the name of its files."""

    backend: str
    platform: str
    file: str
    #: What of that name is taken for a model of it.
    takes_file: bool = True
    takes_folder: bool = False


_TENSORFLOW = (
    _Kind("tensorflow", "tensorflow_savedmodel", "model.savedmodel", False, True),
    _Kind("tensorflow", "tensorflow_graphdef", "model.graphdef"),
)
# In Triton's order.
_KINDS = (
    _Kind("tensorrt", "tensorrt_plan", "model.plan"),
    _Kind("onnxruntime", "onnxruntime_onnx", "model.onnx", True, True),
    _Kind("openvino", "", "model.xml", True, True),
    _Kind("pytorch", "pytorch_libtorch", "model.pt"),
    _Kind("pytorch", "torch_aoti", "model.pt2"),
    _Kind("python", "", "model.py", True, True),
)
#: Backends of which Triton knows how to complete a config.
COMPLETED = {kind.backend for kind in (*_TENSORFLOW, *_KINDS)}


def complete(model: ModelDirectory, *, before_aoti: bool = False) -> Completed | None:
    """Complete a model's config from what lies in its folder; None where nothing tells the backend.

    :param before_aoti: the server is older than PyTorch's AOTInductor in it.
    """
    message, files = model.message, model.first_entries or {}
    given = Completed(message.backend, message.platform, message.default_model_filename)
    if (found := _tensorflow(given, files)) is not None:
        return found
    kinds = [kind for kind in _KINDS if not (before_aoti and kind.platform == "torch_aoti")]
    for kind in kinds:
        if given.backend == kind.backend or (not given.backend and _means(given, kind, files, before_aoti)):
            platform = given.platform or kind.platform
            return Completed(kind.backend, platform, given.filename or _file(kinds, kind, platform))
    if given != Completed("", "", ""):
        return given
    _, dot, backend = model.name.partition(".")
    return Completed(backend, "", f"model.{backend}") if dot else None


def is_stock(model: ModelDirectory) -> bool:
    """Say whether a model wants the stub of the stock Python backend: it has none of its own."""
    found = None if model.message is None else complete(model)
    return found is not None and found.backend == "python" and STUB not in model.entries


def _means(given: Completed, kind: _Kind, files: Entries, before_aoti: bool) -> bool:
    alternative = kind.platform == "pytorch_libtorch" and given.platform == "libtorch" and not before_aoti
    if (given.platform and given.platform == kind.platform) or given.filename == kind.file or alternative:
        return True
    return not given.platform and not given.filename and _is_there(kind, files)


def _is_there(kind: _Kind, files: Entries) -> bool:
    return kind.file in files and (kind.takes_folder if files[kind.file] else kind.takes_file)


def _file(kinds: list[_Kind], kind: _Kind, platform: str) -> str:
    own = [each for each in kinds if each.backend == kind.backend and each.platform == platform]
    return (own[0] if own else kind).file


def _tensorflow(given: Completed, files: Entries) -> Completed | None:
    platform = given.platform
    if not platform and given.backend in ("", "tensorflow"):
        for kind in _TENSORFLOW:
            if given.filename == kind.file or (not given.filename and _is_there(kind, files)):
                platform = kind.platform
    for kind in _TENSORFLOW:
        if platform == kind.platform:
            return Completed(given.backend or kind.backend, platform, given.filename or kind.file)
    return None
