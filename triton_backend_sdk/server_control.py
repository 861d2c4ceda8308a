"""Control of the server: its models are loaded, unloaded and looked at."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from triton_backend_sdk.errors import UnavailableError

_DECOUPLED = 2  # TRITONSERVER_TXN_DECOUPLED
_INDEX_READY = 1  # TRITONSERVER_INDEX_FLAG_READY


class ServerControl:
    """The half of :class:`Server` that does not call models."""

    def __init__(self, api: Any, handle: Any, manager: Any, own: str) -> None:
        self._api = api
        self._own = own
        self._hooks = 0
        self._handle: Any = handle
        self._address = api.address(handle)
        self._manager = api.address(manager)

    @contextlib.contextmanager
    def hook(self) -> Iterator[None]:
        """Say that a hook runs for whose end Triton waits: it is the SDK's own to call."""
        self._hooks += 1
        try:
            yield
        finally:
            self._hooks -= 1

    def close(self) -> None:
        """End with the model, as the server itself may be gone soon: it is the SDK's own to call."""
        self._handle = None

    def _open(self) -> Any:
        if self._handle is None:
            raise UnavailableError("the model that this Server belongs to is unloaded")
        return self._handle

    def load(
        self,
        name: str,
        config: Mapping[str, Any] | str | None = None,
        files: Mapping[str, bytes] | None = None,
    ) -> None:
        """Load or reload a model, and wait for it. See TRITONSERVER_ServerLoadModelWithParameters.

        :param config: stands in for the repository's config.pbtxt: a dict, or its JSON.
        :param files: content by path below the model's directory, such as ``1/model.onnx``, which stand in
            for the whole directory; Triton wants ``config`` with them.
        :raises TritonError: it is not ready; the message holds the reason, the code is Triton's.
        :raises UnavailableError: the server polls its repository, is starting or stopping; or a hook of the
            very model runs, for whose end Triton would wait.
        """
        server = self._not_in_own_hook(name)
        api, ffi, lib = self._api, self._api.ffi, self._api.lib
        if config is None and not files:
            api.check(lib.TRITONSERVER_ServerLoadModel(server, name.encode()))
            return
        keep, parameters = [], []
        try:
            if config is not None:
                text = config if isinstance(config, str) else json.dumps(config)
                keep.append(ffi.new("char[]", text.encode()))
                kind = lib.TRITONSERVER_PARAMETER_STRING
                parameters.append(lib.TRITONSERVER_ParameterNew(b"config", kind, keep[-1]))
            for path, content in (files or {}).items():
                keep.append(ffi.from_buffer(content))
                parameters.append(
                    lib.TRITONSERVER_ParameterBytesNew(f"file:{path}".encode(), keep[-1], len(content))
                )
            array = ffi.new("TRITONSERVER_Parameter*[]", parameters)
            given = ffi.cast("const TRITONSERVER_Parameter**", array)
            api.check(
                lib.TRITONSERVER_ServerLoadModelWithParameters(server, name.encode(), given, len(parameters))
            )
        finally:
            for parameter in parameters:
                lib.TRITONSERVER_ParameterDelete(parameter)

    def unload(self, name: str, *, dependents: bool = False) -> None:
        """Unload a model; it goes when its requests are done. See TRITONSERVER_ServerUnloadModel.

        :param dependents: with the models that only it needs (the steps of an ensemble).
        """
        server, lib = self._not_in_own_hook(name), self._api.lib
        unload = lib.TRITONSERVER_ServerUnloadModel
        if dependents:
            unload = lib.TRITONSERVER_ServerUnloadModelAndDependents
        self._api.check(unload(server, name.encode()))

    def _not_in_own_hook(self, name: str) -> Any:
        if self._hooks and name == self._own:
            raise UnavailableError(
                f"a hook of '{name}' cannot load or unload '{name}': Triton would wait for that hook to end"
            )
        return self._open()

    def index(self, *, ready: bool = False) -> list[dict[str, str]]:
        """List the repository's models with ``name``, ``version``, ``state`` and ``reason``.

        :param ready: only those that are. See TRITONSERVER_ServerModelIndex.
        """
        flags = _INDEX_READY if ready else 0
        found: list[dict[str, str]] = self._json(self._api.lib.TRITONSERVER_ServerModelIndex, flags)
        return found

    def model_config(self, name: str, version: int = -1) -> dict[str, Any]:
        """Give a loaded model's config, as Triton completed it. See TRITONSERVER_ServerModelConfig."""
        found: dict[str, Any] = self._json(
            self._api.lib.TRITONSERVER_ServerModelConfig, name.encode(), version, 1
        )
        return found

    def metadata(self, name: str | None = None, version: int = -1) -> dict[str, Any]:
        """Give a loaded model's inputs, outputs and versions, or the server's name, version and extensions.

        See TRITONSERVER_ServerModelMetadata and TRITONSERVER_ServerMetadata.
        """
        lib = self._api.lib
        found: dict[str, Any] = (
            self._json(lib.TRITONSERVER_ServerMetadata)
            if name is None
            else self._json(lib.TRITONSERVER_ServerModelMetadata, name.encode(), version)
        )
        return found

    def statistics(self, name: str, version: int = -1) -> dict[str, Any]:
        """Give a loaded model's counters (times in nanoseconds). See TRITONSERVER_ServerModelStatistics."""
        found = self._json(self._api.lib.TRITONSERVER_ServerModelStatistics, name.encode(), version)
        first: dict[str, Any] = found["model_stats"][0]
        return first

    def is_live(self) -> bool:
        """See TRITONSERVER_ServerIsLive."""
        return bool(self._api.get(self._api.lib.TRITONSERVER_ServerIsLive, self._open(), "bool"))

    def is_ready(self, name: str | None = None, version: int = -1) -> bool:
        """Say whether a model takes requests, or the server. See TRITONSERVER_ServerModelIsReady.

        No call needs this first: a model that is not there is an error of the call.
        """
        if name is None:
            return bool(self._api.get(self._api.lib.TRITONSERVER_ServerIsReady, self._open(), "bool"))
        out = self._api.ffi.new("bool *")
        function = self._api.lib.TRITONSERVER_ServerModelIsReady
        self._api.check(function(self._open(), name.encode(), version, out))
        return bool(out[0])

    def is_decoupled(self, name: str, version: int = -1) -> bool:
        """Say whether a model gives any number of responses, so that it is one for :meth:`stream`.

        See TRITONSERVER_ServerModelTransactionProperties.
        """
        out = self._api.ffi.new("uint32_t *")
        function = self._api.lib.TRITONSERVER_ServerModelTransactionProperties
        self._api.check(function(self._open(), name.encode(), version, out, self._api.ffi.NULL))
        return bool(out[0] & _DECOUPLED)

    def metrics_text(self) -> str:
        """Give what the metrics endpoint shows, as Prometheus' text. See TRITONSERVER_ServerMetrics."""
        api, lib = self._api, self._api.lib
        metrics = api.get(lib.TRITONSERVER_ServerMetrics, self._open(), "TRITONSERVER_Metrics *")
        try:
            base, size = api.ffi.new("const char **"), api.ffi.new("size_t *")
            kind = lib.TRITONSERVER_METRIC_PROMETHEUS
            api.check(lib.TRITONSERVER_MetricsFormatted(metrics, kind, base, size))
            return str(api.ffi.buffer(base[0], size[0])[:].decode())
        finally:
            api.check(lib.TRITONSERVER_MetricsDelete(metrics))

    def _json(self, function: Any, *arguments: Any) -> Any:
        out = self._api.ffi.new("TRITONSERVER_Message **")
        self._api.check(function(self._open(), *arguments, out))
        try:
            return self._api.parse(out[0])
        finally:
            self._api.check(self._api.lib.TRITONSERVER_MessageDelete(out[0]))
