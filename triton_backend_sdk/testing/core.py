"""The real Triton core in this very process.

A plugin that it drives runs in the test's own interpreter: a breakpoint in ``execute`` stops, coverage counts
its lines, monkeypatch reaches its functions. Nothing is faked; only HTTP and gRPC are missing.
"""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from triton_backend_sdk.errors import InternalError, InvalidArgError, UnavailableError
from triton_backend_sdk.server import Server
from triton_backend_sdk.testing.core_api import open_core
from triton_backend_sdk.testing.core_call import RequestOptions, Responses, Stream
from triton_backend_sdk.testing.core_infer import Inferencer
from triton_backend_sdk.testing.core_live import let_threads_rest
from triton_backend_sdk.testing.core_native import native_server
from triton_backend_sdk.testing.core_options import (
    fill_host_policy,
    fill_options,
    installed_library,
    load_parameters,
)
from triton_backend_sdk.testing.core_requests import Requester
from triton_backend_sdk.testing.core_response import CoreResponse
from triton_backend_sdk.testing.core_trace import CoreTrace
from triton_backend_sdk.testing.wire import Raw

__all__ = ["CoreResponse", "CoreTrace", "Raw", "RequestOptions", "Responses", "Stream", "TritonCore"]

#: States of a model version that has not come to rest.
_MOVING = {"LOADING", "READY", "UNLOADING"}


class TritonCore(Requester):
    """Triton's server object, without its network front ends. See TRITONSERVER_ServerNew.

    It starts in explicit model-control mode, with no model: :meth:`load` those you want. Several can follow
    one another, or live side by side, in one process; the log is the process's, so of several it goes to the
    youngest.

    :param model_repository: the folder, or folders, of models.
    :param backend_directory: the folder that holds ``NAME/libtriton_NAME.so``.
    :param backend_config: what ``--backend-config=NAME,key=value`` says: ``{"NAME": {"key": "value"}}``.
    :param log_verbose: Triton's verbose level; 0 is off.
    :param log_file: where Triton logs; a temporary file if not given. See :meth:`log_text`.
    :param metrics: collect what :meth:`metrics_text` gives.
    :param auto_complete: let models complete their config, as tritonserver does unless told otherwise.
    :param host_policy: what ``--host-policy=NAME,key=value`` says: ``{"NAME": {"key": "value"}}``.
    :param exit_timeout: seconds that :meth:`close` gives models to finish and unload.
    :param library: libtritonserver; the one of the installed server if not given.
    :raises HandledError: no server is installed.
    :raises UnavailableError: its library does not open.
    """

    def __init__(
        self,
        model_repository: Path | str | Sequence[Path | str],
        backend_directory: Path | str,
        *,
        backend_config: Mapping[str, Mapping[str, str]] | None = None,
        log_verbose: int = 0,
        log_file: Path | None = None,
        metrics: bool = False,
        auto_complete: bool = True,
        host_policy: Mapping[str, Mapping[str, str]] | None = None,
        exit_timeout: int = 5,
        library: Path | None = None,
    ) -> None:
        self._api = open_core(library or installed_library())
        self._exit_timeout = exit_timeout
        self._process = os.getpid()
        self._temporary = Path(tempfile.mkdtemp(prefix="tbsdk-core-"))
        self.log_file = log_file or self._temporary / "triton.log"
        if isinstance(model_repository, (str, Path)):
            model_repository = [model_repository]
        options = self._api.new("ServerOptionsNew", "TRITONSERVER_ServerOptions")
        try:
            where = (model_repository, backend_directory)
            fill_options(self._api, options, *where, backend_config or {}, metrics, auto_complete)
            fill_host_policy(self._api, options, host_policy or {})
            self._api.call("ServerOptionsSetLogFile", options, str(self.log_file).encode())
            self._api.call("ServerOptionsSetLogVerbose", options, log_verbose)
            self._server: Any = self._api.new("ServerNew", "TRITONSERVER_Server", options)
        except BaseException:
            shutil.rmtree(self._temporary, ignore_errors=True)
            raise
        finally:
            self._api.call("ServerOptionsDelete", options)
        self._inferencer = Inferencer(self._api, self._server)
        self._native: Server | None = None
        self._last_log: str | None = None
        self._log_start = self.log_file.stat().st_size
        # Triton's threads must not outlive the interpreter they call.
        atexit.register(self.close)

    def __enter__(self) -> TritonCore:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Unload every model, stop the server and delete it; harmless when done already.

        :raises UnavailableError: a model did not let go of its requests in time; the server object is then
            left behind, as deleting it would pull memory from under the plugin.
        """
        if self._server is None or self._process != os.getpid():  # a forked child has none of its threads
            return
        server, self._server = self._server, None
        if self._native is not None:
            self._native.close()
        atexit.unregister(self.close)
        try:
            self._stop(server)
        finally:
            self._last_log = self.log_text()
            shutil.rmtree(self._temporary, ignore_errors=True)

    def _stop(self, server: Any) -> None:
        api = self._api
        names = {entry["name"] for entry in _moving(api.get_json("ServerModelIndex", server, 0))}
        # Unloaded first and one by one, as ServerStop looks only once a second whether it is done. What a
        # reload has replaced is not in the index: it gets the moment that it needs.
        for name in names:
            let_threads_rest()
            api.call("ServerUnloadModel", server, name.encode())
        if not self._wait_unloaded(server, names, self._exit_timeout):
            models, held = ", ".join(sorted(names)), self.live_objects()["requests"]
            raise UnavailableError(
                f"{models} did not unload within {self._exit_timeout} s, with {held} requests not released: "
                "does the plugin keep views of its inputs, or hang in finalize?"
            )
        time.sleep(0.005)
        try:
            api.call("ServerStop", server)
        except InternalError:
            # A reload that failed leaves an entry in Triton's books for which ServerStop waits in vain.
            # Nothing should run any more, but who can tell: better a server left behind than a crash.
            return
        api.call("ServerDelete", server)
        self._inferencer.close()

    @property
    def server(self) -> Server | None:
        """What plugins have as ``model.server``, for those who want their speed; not for what tests count.

        None until a backend of the SDK is loaded in this process.
        """
        handle = self._open_server()
        if self._native is None:
            self._native = native_server(self._api, handle)
        return self._native

    def load(
        self, name: str, config: Mapping[str, Any] | None = None, files: Mapping[str, bytes] | None = None
    ) -> None:
        """Load or reload a model, and wait for it. See TRITONSERVER_ServerLoadModelWithParameters.

        :param config: stands in for the repository's config.pbtxt, as a dict.
        :param files: stand in for the model's folder: content by ``file:1/model.onnx``; takes a config.
        :raises TritonError: the model is not ready; the message holds the plugin's own, the code is Triton's.
        """
        api, server = self._api, self._open_server()
        let_threads_rest()  # it may replace what is loaded
        if config is None and not files:
            api.call("ServerLoadModel", server, name.encode())
            return
        with load_parameters(api, config, files or {}) as (parameters, count):
            api.call("ServerLoadModelWithParameters", server, name.encode(), parameters, count)

    def unload(
        self, name: str, *, dependents: bool = False, wait: bool = True, timeout: float = 10.0
    ) -> None:
        """Unload a model. See TRITONSERVER_ServerUnloadModel.

        :param dependents: unload what it is composed of too. See TRITONSERVER_ServerUnloadModelAndDependents.
        :param wait: return when the instances are finalized, not before.
        :raises UnavailableError: that took longer than ``timeout`` seconds.
        """
        let_threads_rest()
        self._let_schedulers_go()
        function = "ServerUnloadModelAndDependents" if dependents else "ServerUnloadModel"
        self._api.call(function, self._open_server(), name.encode())
        if wait and not self._wait_unloaded(self._server, {name}, timeout):
            raise UnavailableError(f"model {name!r} did not unload within {timeout:g} s")

    def _let_schedulers_go(self) -> None:
        """Let Triton's threads return from the release of the last requests.

        Its sequence batchers crash (seen with 24.10) where their model is unloaded at that very moment.
        """
        time.sleep(0.005)

    def _wait_unloaded(self, server: Any, names: set[str], timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        if self.live_objects()["requests"]:
            gc.collect()  # a plugin's dead cycle, such as an exception's frames, may hold views of inputs
        while any(e["name"] in names for e in _moving(self._api.get_json("ServerModelIndex", server, 0))):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.001)
        return True

    def index(self) -> list[dict[str, str]]:
        """List the repository's models with ``name``, ``version``, ``state`` and ``reason``."""
        found: list[dict[str, str]] = self._api.get_json("ServerModelIndex", self._open_server(), 0)
        return found

    def model_config(self, name: str, version: int = -1) -> dict[str, Any]:
        """Give a loaded model's config, as Triton completed it."""
        found: dict[str, Any] = self._model_json("Config", name, version, 1)
        return found

    def metadata(self, name: str, version: int = -1) -> dict[str, Any]:
        """Give a loaded model's inputs, outputs and versions."""
        found: dict[str, Any] = self._model_json("Metadata", name, version)
        return found

    def statistics(self, name: str, version: int = -1) -> dict[str, Any]:
        """Give a loaded model's counters (times in nanoseconds): ``inference_count``, ``batch_stats``, ..."""
        found: dict[str, Any] = self._model_json("Statistics", name, version)["model_stats"][0]
        return found

    def all_statistics(self, name: str = "", version: int = -1) -> dict[str, Any]:
        """Give the counters of every version of every loaded model, or of one model, as the server would."""
        found: dict[str, Any] = self._model_json("Statistics", name, version)
        return found

    def server_metadata(self) -> dict[str, Any]:
        """Give the server's name, version and extensions. See TRITONSERVER_ServerMetadata."""
        found: dict[str, Any] = self._api.get_json("ServerMetadata", self._open_server())
        return found

    def _model_json(self, what: str, name: str, version: int, *more: int) -> Any:
        server = self._open_server()
        return self._api.get_json(f"ServerModel{what}", server, name.encode(), version, *more)

    def is_ready(self, name: str, version: int = -1) -> bool:
        """Say whether a model takes requests."""
        return bool(self._api.get("ServerModelIsReady", "bool", self._open_server(), name.encode(), version))

    def metrics_text(self) -> str:
        """Give what Triton's metrics endpoint would. See TRITONSERVER_ServerMetrics.

        :raises UnavailableError: the core was made without ``metrics=True``.
        """
        api = self._api
        metrics = api.get("ServerMetrics", "TRITONSERVER_Metrics*", self._open_server())
        try:
            base, size = api.outs("const char*", "size_t")
            kind = api.lib.TRITONSERVER_METRIC_PROMETHEUS
            api.call("MetricsFormatted", metrics, kind, base, size)
            return bytes(api.ffi.buffer(base[0], size[0])).decode()
        finally:
            api.call("MetricsDelete", metrics)

    def log_text(self) -> str:
        """Read what Triton has logged since it was up, the plugin's own log lines and tracebacks included."""
        if self._last_log is not None:
            return self._last_log
        return self.log_file.read_bytes()[self._log_start :].decode(errors="replace")

    def _open_server(self) -> Any:
        if self._server is None:
            raise InvalidArgError("this TritonCore is closed")
        return self._server


def _moving(index: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    return [entry for entry in index if entry.get("state") in _MOVING]
