"""The way that plugins call models, for whoever holds the core: in C, waiting without the GIL.

On the way of :mod:`triton_backend_sdk.testing.core_infer` Triton's threads enter Python four times per
request; on this one the plugin's ``execute`` is all the Python between a call and its response.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from triton_backend_sdk._ffi.api import Api
from triton_backend_sdk.server import Server

if TYPE_CHECKING:
    from triton_backend_sdk.testing.core_api import CoreApi


def native_server(api: CoreApi, server: Any) -> Server | None:
    """Give what plugins have as ``model.server``; None until this process has loaded a backend of the SDK."""
    native: Any = sys.modules.get("triton_backend_sdk._native")
    if not hasattr(native, "fingerprint"):  # attach() sets it when all is in place
        return None
    address = int(api.ffi.cast("uintptr_t", server))
    view = Api(native.ffi, native.lib, sys.modules["triton_backend_sdk._hot"])
    return Server(view, native.ffi.cast("TRITONSERVER_Server*", address), native.ffi.NULL, own="")
