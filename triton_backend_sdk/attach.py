"""Join the native module to the package: once per process, whichever backend comes first.

The walk of a backend's load:

1. Triton opens ``libtriton_<name>.so``, the loader (``_ffi/src/loader.c``), and calls
   TRITONBACKEND_Initialize.
2. The loader reads tbsdk.conf, finds libpython, opens it RTLD_GLOBAL, then opens the native module.
3. The native module resolves Triton's functions, starts Python on a thread of its own, or finds it running
   (``_ffi/src/python.c``), puts the vendored SDK on the path and calls :func:`attach`.
4. :func:`attach` imports the native module's two Python faces, ``_native`` (cffi) and ``_hot`` (C types),
   gives each what it needs of the package, and returns the address of the entries to forward to.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import ExtensionFileLoader
from typing import Any

from triton_backend_sdk import calls, errors, failure, gpu, memory, outputs
from triton_backend_sdk._ffi.api import Api
from triton_backend_sdk.deadline import Deadline
from triton_backend_sdk.dtypes import DataType
from triton_backend_sdk.enums import MemoryType, RequestFlag
from triton_backend_sdk.queued import QueuedInput, QueuedRequest
from triton_backend_sdk.request import Request
from triton_backend_sdk.response import Response
from triton_backend_sdk.runtime import Runtime
from triton_backend_sdk.sender import ResponseSender
from triton_backend_sdk.tensor import Tensor


def attach(native: str, fingerprint: str, directory: str) -> int:
    """Give the address of the entries in use.

    :param native: file of the calling backend's native module.
    :param fingerprint: of the SDK that built it.
    :raises RuntimeError: another backend brought another SDK into this process before.
    """
    present = sys.modules.get("triton_backend_sdk._native")
    if present is None:
        present = _attach_first(native, fingerprint)
    if present.fingerprint != fingerprint:
        raise errors.UnavailableError(
            f"{directory} was built with triton-backend-sdk {fingerprint}, but this server already runs "
            f"{present.fingerprint}, from {present.__file__}: build both with the same (tbsdk build)"
        )
    return int(present.lib.tb_entries_address())


def _attach_first(native: str, fingerprint: str) -> Any:
    hot = _import_extension("triton_backend_sdk._hot", native)
    hot.install(
        {
            "Tensor": Tensor,
            "Request": Request,
            "Response": Response,
            "ResponseSender": ResponseSender,
            "describe": failure.code_and_message,
            "Deadline": Deadline,
            "RequestFlag": RequestFlag,
            "datatypes": sorted(DataType, key=lambda dtype: dtype.c_value),
            "datatype_of": DataType.of,
            "memory_types": list(MemoryType),
            "as_numpy_dtype": DataType.numpy,
            "coerce": outputs.coerce,
            "move": memory.move,
            "device_copy": gpu.copy,
            **{name: getattr(errors, name) for name in ("InternalError", "NotFoundError", "InvalidArgError")},
            "UnsupportedError": errors.UnsupportedError,
            "TritonError": errors.TritonError,
            "from_code": errors.from_code,
            "InferResponse": calls.InferResponse,
            "Call": calls.Call,
            "Stream": calls.Stream,
        }
    )
    hot.install_queued(QueuedRequest, QueuedInput)
    calls.install(hot.Mailbox)
    module = _import_extension("triton_backend_sdk._native", native)
    module.fingerprint = fingerprint
    runtime = Runtime(Api(module.ffi, module.lib, hot), hot)
    for name, function in (
        ("tb_py_initialize", runtime.initialize),
        ("tb_py_finalize", runtime.finalize),
        ("tb_py_backend_attribute", runtime.backend_attribute),
        ("tb_py_model_initialize", runtime.model_initialize),
        ("tb_py_model_finalize", runtime.model_finalize),
        ("tb_py_instance_initialize", runtime.instance_initialize),
        ("tb_py_instance_finalize", runtime.instance_finalize),
    ):
        module.ffi.def_extern(name=name)(function)
    return module


def _import_extension(name: str, path: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, loader=ExtensionFileLoader(name, path))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
