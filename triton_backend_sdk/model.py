"""A backend, its models and their instances, as a plugin sees them."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from triton_backend_sdk.dtypes import DataType
from triton_backend_sdk.enums import ExecutionPolicy, LogLevel
from triton_backend_sdk.errors import UnavailableError
from triton_backend_sdk.loggers import lasting
from triton_backend_sdk.memory_usage import MemoryUsage, report_memory_usage
from triton_backend_sdk.metrics import Metrics
from triton_backend_sdk.parameters import Parameters
from triton_backend_sdk.server import Server
from triton_backend_sdk.specs import TensorSpec

if TYPE_CHECKING:
    pass


@dataclass(eq=False)
class Backend:
    """The backend that this plugin is. See TRITONBACKEND_Backend."""

    name: str
    #: What ``--backend-config=<name>,<key>=<value>`` gave, by key.
    config: dict[str, str]
    #: Where libtriton_<name>.so and the package lie; or model.py, where that is all the backend there is.
    directory: Path
    #: Yours: what its models share.
    state: Any = field(default_factory=SimpleNamespace)
    #: The SDK's own: Triton's functions and this object's handle; None without a server.
    _api: Any = field(default=None, repr=False)
    _handle: Any = field(default=None, repr=False)

    @property
    def execution_policy(self) -> ExecutionPolicy:
        """How Triton calls this backend's instances: [tool.tbsdk] ``execution-policy`` in pyproject.toml.

        See TRITONBACKEND_BackendExecutionPolicy.
        """
        return ExecutionPolicy(0 if self._api is None else self._api.execution_policy(self._handle))

    @property
    def api_version(self) -> tuple[int, int]:
        """The server's version of the backend API; (0, 0) without a server. See TRITONBACKEND_ApiVersion."""
        return (0, 0) if self._api is None else self._api.api_version()

    def log(self, level: int, message: str, filename: str, line: int) -> None:
        """Write a message to Triton's log as it is, as from a line of a file; ``model.logger`` finds its own.

        :param level: of Python's logging. DEBUG is Triton's verbose level, and shown while that is on.

        Without a server it goes to Python's logging. See TRITONSERVER_LogMessage.
        """
        if self._api is not None:
            self._api.log(LogLevel.of(level), filename, line, message)
            return
        logger = lasting(f"triton.{self.name}")
        if logger.isEnabledFor(level):
            record = logger.makeRecord(logger.name, level, filename, line, message, (), None)
            logger.handle(record)


@dataclass(eq=False)
class Model:
    """One version of a model. See TRITONBACKEND_Model."""

    name: str
    version: int
    #: The model's directory in the repository; its versions lie in it.
    directory: Path
    #: The model's config, as Triton completed it.
    config: dict[str, Any]
    backend: Backend
    #: Counters, gauges and histograms of yours on Triton's metrics endpoint.
    metrics: Metrics = field(default_factory=Metrics, repr=False)
    #: Yours: what the instances share, such as weights.
    state: Any = field(default_factory=SimpleNamespace)
    #: The SDK's own: Triton's functions and this object's handle; None without a server.
    _api: Any = field(default=None, repr=False)
    _handle: Any = field(default=None, repr=False)
    _use: Any = field(default_factory=threading.RLock, repr=False)  # a __del__ may run under it
    _served: Callable[[], bool] = field(default=lambda: True, repr=False)

    def __post_init__(self) -> None:
        self.parameters = Parameters(
            {key: value.get("string_value", "") for key, value in self.config.get("parameters", {}).items()},
            self.name,
        )
        #: Logs to Triton's log.
        self.logger = lasting(f"triton.{self.name}")

    def is_served(self) -> bool:
        """Say whether Triton still sends it requests, rather than waiting for those that it has to unload it.

        For what goes on by itself and keeps requests meanwhile: Triton does not tell a backend.
        """
        return self._served()

    def report_memory_usage(self, usage: MemoryUsage) -> None:
        """Tell Triton what the model itself holds; its statistics add it to what the instances report.

        :param usage: bytes by where they lie, ``{MemoryType.CPU: 10**9, (MemoryType.GPU, 1): 4 * 10**9}``; a
            memory type alone stands for its device 0. A second report replaces the first.
        :raises InternalError: a size is negative or no int, or the model was unloaded.

        See TRITONBACKEND_ModelReportMemoryUsage.
        """
        with self._use:
            report_memory_usage(self, "TRITONBACKEND_ModelReportMemoryUsage", usage)

    def let_go(self) -> None:
        """Forget Triton's model, which ends now: what others still do with this one gets an error."""
        self.metrics.close()
        if (server := vars(self).get("server")) is not None:
            server.close()
        with self._use:
            self._handle = None

    @functools.cached_property
    def server(self) -> Server:
        """The server that runs the model: calls to other models, and their control.

        :raises UnavailableError: there is none, as in a test without one.
        """
        if self._api is None:
            raise UnavailableError(f"model '{self.name}' runs in no server")
        api, lib = self._api, self._api.lib
        handle = api.get(lib.TRITONBACKEND_ModelServer, self._handle, "TRITONSERVER_Server *")
        backend = self.backend._handle
        manager = api.get(lib.TRITONBACKEND_BackendMemoryManager, backend, "TRITONBACKEND_MemoryManager *")
        return Server(api, handle, manager, self.name)

    @property
    def version_directory(self) -> Path:
        """The directory of this version's files."""
        return self.directory / str(self.version)

    @property
    def max_batch_size(self) -> int:
        """The config's max_batch_size; 0 for a model that does not batch."""
        return int(self.config.get("max_batch_size", 0))

    @property
    def decoupled(self) -> bool:
        """Whether a request may have any number of responses (``model_transaction_policy``)."""
        return bool(self.config.get("model_transaction_policy", {}).get("decoupled", False))

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The config's inputs."""
        return _specs(self.config.get("input", []))

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The config's outputs."""
        return _specs(self.config.get("output", []))


def _specs(declared: list[dict[str, Any]]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(
            tensor["name"],
            DataType.of(tensor["data_type"]),
            # A reshape changes what the backend sees, not what the client sends.
            tuple(int(dim) for dim in tensor.get("reshape", tensor).get("shape", tensor["dims"])),
        )
        for tensor in declared
    )
