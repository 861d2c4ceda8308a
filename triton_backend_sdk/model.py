"""A backend, its models and their instances, as a plugin sees them."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from triton_backend_sdk import gpu
from triton_backend_sdk.dtypes import DataType
from triton_backend_sdk.enums import ExecutionPolicy, InstanceGroupKind, MemoryType
from triton_backend_sdk.errors import UnavailableError
from triton_backend_sdk.memory import Placement, move
from triton_backend_sdk.memory_usage import MemoryUsage, report_memory_usage
from triton_backend_sdk.metrics import Metrics
from triton_backend_sdk.parameters import Parameters
from triton_backend_sdk.server import Server
from triton_backend_sdk.specs import TensorSpec

if TYPE_CHECKING:
    from triton_backend_sdk.tensor import Tensor


@dataclass(eq=False)
class Backend:
    """The backend that this plugin is. See TRITONBACKEND_Backend."""

    name: str
    #: What ``--backend-config=<name>,<key>=<value>`` gave, by key.
    config: dict[str, str]
    #: Where libtriton_<name>.so and the package lie.
    directory: Path
    #: The SDK's own: Triton's functions and this object's handle; None without a server.
    _api: Any = field(default=None, repr=False)
    _handle: Any = field(default=None, repr=False)

    @property
    def execution_policy(self) -> ExecutionPolicy:
        """How Triton calls this backend's instances: [tool.tbsdk] ``execution-policy`` in pyproject.toml.

        See TRITONBACKEND_BackendExecutionPolicy.
        """
        if self._api is None:
            return ExecutionPolicy.BLOCKING
        function, kind = self._api.lib.TRITONBACKEND_BackendExecutionPolicy, "TRITONBACKEND_ExecutionPolicy"
        return ExecutionPolicy(self._api.get(function, self._handle, kind))

    @property
    def api_version(self) -> tuple[int, int]:
        """The server's version of the backend API; (0, 0) without a server. See TRITONBACKEND_ApiVersion."""
        if self._api is None:
            return 0, 0
        major, minor = self._api.ffi.new("uint32_t *"), self._api.ffi.new("uint32_t *")
        self._api.check(self._api.lib.TRITONBACKEND_ApiVersion(major, minor))
        return int(major[0]), int(minor[0])


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
    _use: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        self.parameters = Parameters(
            {key: value.get("string_value", "") for key, value in self.config.get("parameters", {}).items()},
            self.name,
        )
        #: Logs to Triton's log.
        self.logger = logging.getLogger(f"triton.{self.name}")

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


@dataclass(eq=False)
class ModelInstance:
    """One instance of a model: Triton executes one batch at a time on it. See TRITONBACKEND_ModelInstance."""

    name: str
    kind: InstanceGroupKind
    #: The device of a GPU instance; 0 otherwise.
    device_id: int
    model: Model
    #: Yours.
    state: Any = field(default_factory=SimpleNamespace)
    #: The SDK's own: Triton's functions and this object's handle; None without a server.
    _api: Any = field(default=None, repr=False)
    _handle: Any = field(default=None, repr=False)
    #: The SDK's own: Triton's memory, and the CUDA stream once it was asked for.
    _pool: Any = field(default=None, repr=False)
    _stream: Any = field(default=None, repr=False)
    _use: threading.Lock = field(default_factory=threading.Lock, repr=False)
    #: Waits for the requests that coroutines still serve, where execute is one.
    _drain: Callable[[], None] = field(default=lambda: None, repr=False)

    def report_memory_usage(self, usage: MemoryUsage) -> None:
        """Tell Triton what the instance holds. See :meth:`Model.report_memory_usage`.

        See TRITONBACKEND_ModelInstanceReportMemoryUsage.
        """
        with self._use:
            report_memory_usage(self, "TRITONBACKEND_ModelInstanceReportMemoryUsage", usage)

    def let_go(self) -> None:
        """Forget Triton's instance, which ends now."""
        with self._use:
            self._handle = None

    def allocate(
        self,
        shape: int | Sequence[int],
        dtype: Any = DataType.UINT8,
        *,
        memory_type: MemoryType | Sequence[MemoryType] = (MemoryType.CPU_PINNED, MemoryType.CPU),
        memory_type_id: int = 0,
    ) -> Tensor:
        """Give a writable tensor in memory of Triton's pools; what it holds is undefined.

        It may be used on any thread and kept for as long as the server runs, the model's end included; it is
        freed with the last array made from it.

        :param shape: dimensions, or a number of elements.
        :param memory_type: where it should lie; of several, the first that is to be had.
            ``tensor.memory_type`` tells which that was.
        :param memory_type_id: the device, for GPU memory.
        :raises UnavailableError: none of them is to be had; says why, of each. Without a GPU there is no
            pinned memory.
        :raises InvalidArgError: no tensor can have this shape, or BYTES, whose elements have no fixed size.

        See TRITONBACKEND_MemoryManagerAllocate.
        """
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        kinds = (memory_type,) if isinstance(memory_type, int) else tuple(memory_type)
        wanted = [Placement(kind, memory_type_id if kind is MemoryType.GPU else 0) for kind in kinds]
        tensor: Tensor = self._pool.allocate(shape, DataType.of(dtype), wanted)
        return tensor

    def move(self, tensor: Tensor, memory_type: MemoryType, memory_type_id: int = 0) -> Tensor:
        """Give a tensor that lies in this kind of memory: the same one, or a copy of it from Triton's pools.

        :raises UnavailableError: it needs cuda-python, which is not installed.
        :raises UnsupportedError: Triton has no such memory.
        """
        return move(tensor, self, memory_type, memory_type_id)

    @property
    def cuda_stream(self) -> gpu.Stream:
        """A CUDA stream of this instance's, made when first asked for.

        What is left running on it when ``execute`` returns is waited for before the responses are sent.

        :raises UnavailableError: there is no cuda-python, or no CUDA.
        """
        if self._stream is None:
            self._stream = gpu.Stream(self.device_id)
        stream: gpu.Stream = self._stream
        return stream

    @property
    def logger(self) -> logging.Logger:
        """The model's logger, which writes to Triton's log."""
        return self.model.logger

    @property
    def host_policy(self) -> dict[str, dict[str, str]]:
        """What ``--host-policy=<name>,<key>=<value>`` gave for this instance's policy: settings by its name.

        See TRITONBACKEND_ModelInstanceHostPolicy.
        """
        if self._api is None:
            return {}
        function = self._api.lib.TRITONBACKEND_ModelInstanceHostPolicy
        return dict(self._api.parse(self._api.get(function, self._handle, "TRITONSERVER_Message *")))

    @property
    def is_passive(self) -> bool:
        """Whether Triton makes this instance and never executes it.

        See TRITONBACKEND_ModelInstanceIsPassive.
        """
        if self._api is None:
            return False
        return bool(self._api.get(self._api.lib.TRITONBACKEND_ModelInstanceIsPassive, self._handle, "bool"))

    @property
    def profiles(self) -> list[str]:
        """The ``profile`` of its instance group. See TRITONBACKEND_ModelInstanceProfileName."""
        if self._api is None:
            return []
        api, lib = self._api, self._api.lib
        name = api.ffi.new("const char **")
        found = []
        for index in range(api.get(lib.TRITONBACKEND_ModelInstanceProfileCount, self._handle, "uint32_t")):
            api.check(lib.TRITONBACKEND_ModelInstanceProfileName(self._handle, index, name))
            found.append(api.ffi.string(name[0]).decode())
        return found

    @property
    def secondary_devices(self) -> list[tuple[str, int]]:
        """Kind (``"KIND_NVDLA"``) and id of its ``secondary_devices``.

        See TRITONBACKEND_ModelInstanceSecondaryDeviceProperties.
        """
        if self._api is None:
            return []
        api, lib = self._api, self._api.lib
        kind, device = api.ffi.new("const char **"), api.ffi.new("int64_t *")
        count = api.get(lib.TRITONBACKEND_ModelInstanceSecondaryDeviceCount, self._handle, "uint32_t")
        found = []
        for index in range(count):
            api.check(
                lib.TRITONBACKEND_ModelInstanceSecondaryDeviceProperties(self._handle, index, kind, device)
            )
            found.append((api.ffi.string(kind[0]).decode(), int(device[0])))
        return found


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
