"""The client methods over HTTP: name -> method, path, body, and what of the answer is given."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

from triton_backend_sdk.runner.grpc_operations import as_text

Arguments = Mapping[str, Any]


class Http(NamedTuple):
    """How a client method goes over HTTP."""

    method: str
    path: Callable[[Arguments], str]
    body: Callable[[Arguments], Any] | None = None
    #: "health": only the status counts; "json": the answer; "none": nothing.
    gives: str = "json"


def _model(given: Arguments, name: str = "model_name") -> str:
    version = given.get("model_version") or ""
    part = f"/models/{quote(given[name], safe='')}"
    return f"v2{part}/versions/{quote(version, safe='')}" if version else f"v2{part}"


def _model_or_all(given: Arguments) -> str:
    return _model(given) if given["model_name"] else "v2/models"


def _tracing(given: Arguments) -> str:
    name = given["model_name"]
    return f"v2/models/{quote(name, safe='')}/trace/setting" if name else "v2/trace/setting"


def _repository(what: str) -> Callable[[Arguments], str]:
    return lambda given: f"v2/repository/models/{quote(given['model_name'], safe='')}/{what}"


def _memory(kind: str, what: str) -> Callable[[Arguments], str]:
    def path(given: Arguments) -> str:
        name = given.get("region_name") or given.get("name") or ""
        region = f"/region/{quote(name, safe='')}" if name else ""
        return f"v2/{kind}sharedmemory{region}/{what}"

    return path


def _load(given: Arguments) -> dict[str, Any]:
    said: dict[str, Any] = {}
    if given["config"] is not None:
        said["config"] = as_text(given["config"])
    for path, content in (given["files"] or {}).items():
        said[path] = base64.b64encode(content).decode()
    return {"parameters": said} if said else {}


def _cuda(given: Arguments) -> dict[str, Any]:
    handle = given["raw_handle"]
    text = handle.decode() if isinstance(handle, bytes) else handle
    return {"raw_handle": {"b64": text}, "device_id": given["device_id"], "byte_size": given["byte_size"]}


def _settings(given: Arguments) -> dict[str, Any]:
    return dict(given["settings"])


def _trace_settings(given: Arguments) -> dict[str, Any]:
    """Give what the server reads: strings, lists of them, and null to clear a value."""
    return {
        key: value if value is None or isinstance(value, list) else str(value)
        for key, value in given["settings"].items()
    }


def _system(given: Arguments) -> dict[str, Any]:
    return {"key": given["key"], "offset": given["offset"], "byte_size": given["byte_size"]}


REQUESTS: dict[str, Http] = {
    "is_server_live": Http("GET", lambda _: "v2/health/live", None, "health"),
    "is_server_ready": Http("GET", lambda _: "v2/health/ready", None, "health"),
    "is_model_ready": Http("GET", lambda given: f"{_model(given)}/ready", None, "health"),
    "get_server_metadata": Http("GET", lambda _: "v2"),
    "get_model_metadata": Http("GET", _model),
    "get_model_config": Http("GET", lambda given: f"{_model(given)}/config"),
    "get_model_repository_index": Http("POST", lambda _: "v2/repository/index"),
    "load_model": Http("POST", _repository("load"), _load, "none"),
    "unload_model": Http(
        "POST",
        _repository("unload"),
        lambda given: {"parameters": {"unload_dependents": given["unload_dependents"]}},
        "none",
    ),
    "get_inference_statistics": Http("GET", lambda given: f"{_model_or_all(given)}/stats"),
    "update_trace_settings": Http("POST", _tracing, _trace_settings),
    "get_trace_settings": Http("GET", _tracing),
    "update_log_settings": Http("POST", lambda _: "v2/logging", _settings),
    "get_log_settings": Http("GET", lambda _: "v2/logging"),
    "get_system_shared_memory_status": Http("GET", _memory("system", "status")),
    "register_system_shared_memory": Http("POST", _memory("system", "register"), _system, "none"),
    "unregister_system_shared_memory": Http("POST", _memory("system", "unregister"), None, "none"),
    "get_cuda_shared_memory_status": Http("GET", _memory("cuda", "status")),
    "register_cuda_shared_memory": Http("POST", _memory("cuda", "register"), _cuda, "none"),
    "unregister_cuda_shared_memory": Http("POST", _memory("cuda", "unregister"), None, "none"),
}
