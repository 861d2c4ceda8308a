"""Which libtritonserver, and with which options."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triton_backend_sdk.errors import UnavailableError

if TYPE_CHECKING:
    from triton_backend_sdk.testing.core_api import CoreApi


def fill_options(  # noqa: PLR0917
    api: CoreApi,
    options: Any,
    repositories: Sequence[Path | str],
    backend_directory: Path | str,
    backend_config: Mapping[str, Mapping[str, str]],
    metrics: bool,
    auto_complete: bool,
) -> None:
    """Set a server up as a test wants it, see TRITONSERVER_ServerOptionsNew."""

    def put(name: str, *values: Any) -> None:
        encoded = [str(value).encode() if isinstance(value, (str, Path)) else value for value in values]
        api.call(f"ServerOptionsSet{name}", options, *encoded)

    put("ServerId", "tbsdk-test")
    for repository in repositories:
        put("ModelRepositoryPath", repository)
    put("BackendDirectory", backend_directory)
    for backend, settings in backend_config.items():
        for key, value in settings.items():
            put("BackendConfig", backend, key, value)
    put("ModelControlMode", api.lib.TRITONSERVER_MODEL_CONTROL_EXPLICIT)
    put("StrictModelConfig", not auto_complete)
    put("Metrics", metrics)
    for device in ("Gpu", "Cpu"):
        put(f"{device}Metrics", False)  # a thread that polls
    put("PinnedMemoryPoolByteSize", 0)
    put("ExitTimeout", 1)  # the models are unloaded by then
    # Triton leaves these two to chance: a model that failed was loaded again and again.
    put("ModelLoadRetryCount", 0)
    put("EnablePeerAccess", True)


def fill_host_policy(api: CoreApi, options: Any, host_policy: Mapping[str, Mapping[str, str]]) -> None:
    """See TRITONSERVER_ServerOptionsSetHostPolicy."""
    for policy, settings in host_policy.items():
        for key, value in settings.items():
            api.call("ServerOptionsSetHostPolicy", options, policy.encode(), key.encode(), value.encode())


@contextlib.contextmanager
def load_parameters(
    api: CoreApi, config: Mapping[str, Any] | None, files: Mapping[str, bytes]
) -> Iterator[tuple[Any, int]]:
    """Make what TRITONSERVER_ServerLoadModelWithParameters takes, and its number."""
    made, keep = [], []
    try:
        if config is not None:
            keep.append(api.ffi.new("char[]", json.dumps(config).encode()))
            kind = api.lib.TRITONSERVER_PARAMETER_STRING
            made.append(api.lib.TRITONSERVER_ParameterNew(b"config", kind, keep[-1]))
        for path, content in files.items():
            keep.append(api.ffi.from_buffer(content))
            made.append(api.lib.TRITONSERVER_ParameterBytesNew(path.encode(), keep[-1], len(content)))
        parameters = api.ffi.new("TRITONSERVER_Parameter*[]", made)
        yield api.ffi.cast("const TRITONSERVER_Parameter**", parameters), len(made)
    finally:
        for parameter in made:
            api.lib.TRITONSERVER_ParameterDelete(parameter)


def installed_library() -> Path:
    """Give the libtritonserver of the server that ``tbsdk serve`` would start.

    :raises HandledError: there is no server; names the places.
    :raises UnavailableError: there is one, without the library.
    """
    from triton_backend_sdk.tools.server import find_server  # noqa: PLC0415  not needed with a library given

    server = find_server()
    if server.library is None:
        where = f"beside {server.binary} ({server.origin})"
        raise UnavailableError(f"no libtritonserver.so {where}; `tbsdk server install` fetches one")
    return server.library
