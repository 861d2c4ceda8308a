"""Write backends for NVIDIA's Triton Inference Server in Python.

::

    from triton_backend_sdk import Response, hookimpl

    @hookimpl
    def execute(requests):
        return [Response({"OUT": 2 * request["IN"].numpy()}) for request in requests]
"""

from triton_backend_sdk._version import __version__
from triton_backend_sdk.batch_io import batch_inputs, batch_outputs
from triton_backend_sdk.batched import batched
from triton_backend_sdk.calls import Call, InferResponse, Stream
from triton_backend_sdk.deadline import Deadline
from triton_backend_sdk.dtypes import DataType
from triton_backend_sdk.enums import ExecutionPolicy, InstanceGroupKind, MemoryType, RequestFlag
from triton_backend_sdk.errors import (
    AlreadyExistsError,
    CancelledError,
    InternalError,
    InvalidArgError,
    NotFoundError,
    TritonError,
    UnavailableError,
    UnknownError,
    UnsupportedError,
)
from triton_backend_sdk.hookspecs import hookimpl
from triton_backend_sdk.memory import BufferAttributes, Placement
from triton_backend_sdk.metrics import Counter, Gauge, Histogram, Metrics
from triton_backend_sdk.model import Backend, Model
from triton_backend_sdk.model_config import ModelConfig
from triton_backend_sdk.model_instance import ModelInstance
from triton_backend_sdk.queued import QueuedInput, QueuedRequest
from triton_backend_sdk.ragged import Ragged
from triton_backend_sdk.request import Request
from triton_backend_sdk.response import Response
from triton_backend_sdk.sender import ResponseSender
from triton_backend_sdk.server import Server
from triton_backend_sdk.signature import Signature
from triton_backend_sdk.specs import (
    DynamicBatching,
    InstanceGroup,
    Parameter,
    QueuePolicy,
    SequenceBatching,
    SequenceControl,
    SequenceState,
    TensorSpec,
)
from triton_backend_sdk.tensor import Tensor
from triton_backend_sdk.trace import Trace

__all__ = [
    "AlreadyExistsError",
    "Backend",
    "BufferAttributes",
    "Call",
    "CancelledError",
    "Counter",
    "DataType",
    "Deadline",
    "DynamicBatching",
    "ExecutionPolicy",
    "Gauge",
    "Histogram",
    "InferResponse",
    "InstanceGroup",
    "InstanceGroupKind",
    "InternalError",
    "InvalidArgError",
    "MemoryType",
    "Metrics",
    "Model",
    "ModelConfig",
    "ModelInstance",
    "NotFoundError",
    "Parameter",
    "Placement",
    "QueuePolicy",
    "QueuedInput",
    "QueuedRequest",
    "Ragged",
    "Request",
    "RequestFlag",
    "Response",
    "ResponseSender",
    "SequenceBatching",
    "SequenceControl",
    "SequenceState",
    "Server",
    "Signature",
    "Stream",
    "Tensor",
    "TensorSpec",
    "Trace",
    "TritonError",
    "UnavailableError",
    "UnknownError",
    "UnsupportedError",
    "__version__",
    "batch_inputs",
    "batch_outputs",
    "batched",
    "hookimpl",
]
