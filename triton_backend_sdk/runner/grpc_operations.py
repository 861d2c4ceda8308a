"""The client methods over gRPC: name -> remote procedure, request, and what of the response is given."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from triton_backend_sdk.runner.plain import choice, plain


class Rpc(NamedTuple):
    """How a client method goes over gRPC."""

    #: Of the service; its request message is called ``<name>Request``.
    name: str
    #: Fills the request; None: the arguments are its fields.
    write: Callable[[Any, Mapping[str, Any]], None] | None
    read: Callable[[Any], Any]


def _fields(*names: str) -> Callable[[Any, Mapping[str, Any]], None]:
    """Write arguments into fields of other names, in the order of the method's arguments."""

    def write(message: Any, arguments: Mapping[str, Any]) -> None:
        for name, value in zip(names, arguments.values(), strict=True):
            setattr(message, name, value)

    return write


def _load(message: Any, arguments: Mapping[str, Any]) -> None:
    message.model_name = arguments["model_name"]
    if arguments["config"] is not None:
        message.parameters["config"].string_param = as_text(arguments["config"])
    for path, content in (arguments["files"] or {}).items():
        message.parameters[path].bytes_param = content


def _unload(message: Any, arguments: Mapping[str, Any]) -> None:
    message.model_name = arguments["model_name"]
    message.parameters["unload_dependents"].bool_param = arguments["unload_dependents"]


def _trace(message: Any, arguments: Mapping[str, Any]) -> None:
    message.model_name = arguments["model_name"] or ""
    for key, value in arguments.get("settings", {}).items():
        if value is None:  # back to the global setting
            message.settings[key]
        else:
            message.settings[key].value.extend(value if isinstance(value, list) else [str(value)])


def _log(message: Any, arguments: Mapping[str, Any]) -> None:
    for key, value in arguments.get("settings", {}).items():
        if isinstance(value, bool):
            message.settings[key].bool_param = value
        elif isinstance(value, int):
            message.settings[key].uint32_param = value
        else:
            message.settings[key].string_param = value


def _cuda(message: Any, arguments: Mapping[str, Any]) -> None:
    message.name = arguments["name"]
    message.raw_handle = base64.b64decode(arguments["raw_handle"])
    message.device_id = arguments["device_id"]
    message.byte_size = arguments["byte_size"]


def as_text(config: Any) -> str:
    """Give a model's config as JSON text, which is what the server takes."""
    return config if isinstance(config, str) else json.dumps(config)


def _trace_settings(response: Any) -> dict[str, Any]:
    found = {key: list(value.value) for key, value in sorted(response.settings.items())}
    return {
        key: values if key == "trace_level" or len(values) != 1 else values[0]
        for key, values in found.items()
    }


def _log_settings(response: Any) -> dict[str, Any]:
    return {key: choice(value, "parameter_choice") for key, value in sorted(response.settings.items())}


def _regions(response: Any) -> list[dict[str, Any]]:
    return [plain(region) for _, region in sorted(response.regions.items())]


def _nothing(response: Any) -> None:
    """Give nothing: the answer is that there was no error."""


_MODEL = _fields("name", "version")

RPCS: dict[str, Rpc] = {
    "is_server_live": Rpc("ServerLive", None, lambda found: found.live),
    "is_server_ready": Rpc("ServerReady", None, lambda found: found.ready),
    "is_model_ready": Rpc("ModelReady", _MODEL, lambda found: found.ready),
    "get_server_metadata": Rpc("ServerMetadata", None, plain),
    "get_model_metadata": Rpc("ModelMetadata", _MODEL, plain),
    "get_model_config": Rpc("ModelConfig", _MODEL, lambda found: plain(found.config)),
    "get_model_repository_index": Rpc(
        "RepositoryIndex", None, lambda found: [_row(plain(row)) for row in found.models]
    ),
    "load_model": Rpc("RepositoryModelLoad", _load, _nothing),
    "unload_model": Rpc("RepositoryModelUnload", _unload, _nothing),
    "get_inference_statistics": Rpc("ModelStatistics", _MODEL, plain),
    "update_trace_settings": Rpc("TraceSetting", _trace, _trace_settings),
    "get_trace_settings": Rpc("TraceSetting", _trace, _trace_settings),
    "update_log_settings": Rpc("LogSettings", _log, _log_settings),
    "get_log_settings": Rpc("LogSettings", _log, _log_settings),
    "get_system_shared_memory_status": Rpc("SystemSharedMemoryStatus", _fields("name"), _regions),
    "register_system_shared_memory": Rpc("SystemSharedMemoryRegister", None, _nothing),
    "unregister_system_shared_memory": Rpc("SystemSharedMemoryUnregister", None, _nothing),
    "get_cuda_shared_memory_status": Rpc("CudaSharedMemoryStatus", _fields("name"), _regions),
    "register_cuda_shared_memory": Rpc("CudaSharedMemoryRegister", _cuda, _nothing),
    "unregister_cuda_shared_memory": Rpc("CudaSharedMemoryUnregister", None, _nothing),
}


def _row(row: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is empty, as the HTTP endpoint does."""
    return {key: value for key, value in row.items() if value or key == "name"}


def write(pb: Any, rpc: Rpc, arguments: Mapping[str, Any]) -> Any:
    """Make the request message of a client method."""
    message = getattr(pb, f"{rpc.name}Request")()
    if rpc.write is not None:
        rpc.write(message, arguments)
    else:
        for name, value in arguments.items():
            setattr(message, name, value)
    return message
