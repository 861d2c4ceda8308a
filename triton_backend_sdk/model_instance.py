"""An instance of a model, as a plugin sees it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from triton_backend_sdk import gpu
from triton_backend_sdk.dtypes import DataType
from triton_backend_sdk.enums import InstanceGroupKind, MemoryType
from triton_backend_sdk.memory import Placement, move
from triton_backend_sdk.memory_usage import MemoryUsage, report_memory_usage
from triton_backend_sdk.model import Model

if TYPE_CHECKING:
    from triton_backend_sdk.tensor import Tensor


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
    #: Set it in ``initialize`` where the config does not say what the outputs are: they are sent with the
    #: datatype and shape that they have, a Response may lack some, and those that the config does not know,
    #: so that no client can ask for them, are left out. Elements of BYTES that are neither bytes nor str are
    #: sent as ``str(element)``. What :meth:`Request.output` makes is still as the config says.
    outputs_as_given: bool = False
    #: The SDK's own: Triton's functions and this object's handle; None without a server.
    _api: Any = field(default=None, repr=False)
    _handle: Any = field(default=None, repr=False)
    #: The SDK's own: Triton's memory, and the CUDA stream once it was asked for.
    _pool: Any = field(default=None, repr=False)
    _stream: Any = field(default=None, repr=False)
    _use: Any = field(default_factory=threading.RLock, repr=False)  # a __del__ may run under it
    #: Waits for the requests that coroutines still serve, where execute is one.
    _drain: Callable[[], None] = field(default=lambda: None, repr=False)
    _watchdog: Any = field(default=None, repr=False)

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
        return dict(self._ask("host_policy") or {})

    @property
    def is_passive(self) -> bool:
        """Whether Triton makes this instance and never executes it.

        See TRITONBACKEND_ModelInstanceIsPassive.
        """
        return bool(self._ask("is_passive"))

    @property
    def profiles(self) -> list[str]:
        """The ``profile`` of its instance group. See TRITONBACKEND_ModelInstanceProfileName."""
        return list(self._ask("profiles") or [])

    @property
    def secondary_devices(self) -> list[tuple[str, int]]:
        """Kind (``"KIND_NVDLA"``) and id of its ``secondary_devices``.

        See TRITONBACKEND_ModelInstanceSecondaryDeviceProperties.
        """
        return list(self._ask("secondary_devices") or [])

    def _ask(self, question: str) -> Any:
        """Ask a method of Api; None without a server, and once the instance has ended."""
        with self._use:
            return None if self._handle is None else getattr(self._api, question)(self._handle)
