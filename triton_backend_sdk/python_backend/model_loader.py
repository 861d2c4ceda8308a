"""``load_model``, ``unload_model`` and ``is_model_ready`` of ``triton_python_backend_utils``."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any

from triton_backend_sdk import TritonError as SDKError
from triton_backend_sdk.python_backend.made_request import check_text, check_truth
from triton_backend_sdk.python_backend.owner import current
from triton_backend_sdk.python_backend.pb_error import TritonModelException

if TYPE_CHECKING:
    from triton_backend_sdk.python_backend.owner import PythonModel

_FILE = "file:"
#: What C++'s stol takes from the front of a text.
_NUMBER = re.compile(r"\s*[+-]?\d+")
_TOO_LARGE = 2**63


def load_model(
    owner: PythonModel | None, model_name: str, config: str = "", files: dict[str, bytes] | None = None
) -> None:
    """Load or reload a model, and wait until it is ready.

    :param config: JSON that stands in for its config.pbtxt.
    :param files: contents by path, such as ``file:1/model.onnx``, that stand in for its directory.
    :raises TritonModelException: why it is not ready.
    """
    model_name, config = (
        check_text("load_model", "model_name", model_name),
        check_text("load_model", "config", config),
    )
    contents = _contents(model_name, files)
    owner = owner or current()
    try:
        owner.server.load(model_name, config or None, contents)
    except SDKError as error:
        raise _told(owner, "load model", error.message) from None


def unload_model(owner: PythonModel | None, model_name: str, unload_dependents: bool = False) -> None:
    """Unload a model; it goes when its requests are done.

    :param unload_dependents: with the models that only it needs.
    :raises TritonModelException: why not.
    """
    model_name = check_text("unload_model", "model_name", model_name)
    dependents = check_truth("unload_model", "unload_dependents", unload_dependents)
    owner = owner or current()
    try:
        owner.server.unload(model_name, dependents=dependents)
    except SDKError as error:
        raise _told(owner, "unload model", error.message) from None


def is_model_ready(owner: PythonModel | None, model_name: str, model_version: str = "") -> bool:
    """Say whether a model takes requests; any version of it if none is given.

    :raises TritonModelException: the version is no number, or the server is not ready.
    """
    model_name = check_text("is_model_ready", "model_name", model_name)
    version = check_text("is_model_ready", "model_version", model_version)
    owner = owner or current()
    try:
        return owner.server.is_ready(model_name, _version(version))
    except (SDKError, ValueError) as error:
        raise _told(owner, "check model readiness", str(error)) from None


def _contents(model: str, files: Any) -> dict[str, bytes] | None:
    if files is None:
        return None
    if not isinstance(files, dict):
        raise TritonModelException(
            f"failed to load model '{model}', files should be a dictionary of file paths and file contents"
        )
    contents = {}
    for path, content in files.items():
        text = check_text("load_model", "a path of files", path)
        if not isinstance(content, (bytes, bytearray, memoryview)):
            raise TypeError(f"load_model(): the content of '{text}' must be bytes, not {type(content)}")
        if not text.startswith(_FILE):
            raise TritonModelException(
                f"failed to load model '{model}', the path '{text}' of files should begin with '{_FILE}'"
            )
        contents[text.removeprefix(_FILE)] = bytes(content)
    return contents


def _version(text: str) -> int:
    if not text:
        return -1
    found = _NUMBER.match(text)
    said = f"failed to get model version from specified version string '{text}'"
    if found is None or abs(int(found[0])) >= _TOO_LARGE:
        raise ValueError(f"{said} (details: stol), version should be an integral value > 0")
    if int(found[0]) < 0:
        raise ValueError(f"{said}, version should be an integral value > 0")
    return int(found[0])


def _told(owner: PythonModel, what: str, message: str) -> TritonModelException:
    return TritonModelException(
        f"Failed to {what}: Failed to process the request for model '{owner.name}', message: {message}"
    )


def names(owner: PythonModel | None) -> dict[str, Any]:
    """Give what the utils module has of this file."""
    return {
        function.__name__: functools.update_wrapper(functools.partial(function, owner), function)
        for function in (load_model, unload_model, is_model_ready)
    }
