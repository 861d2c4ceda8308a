"""Triton's functions for the lifecycle: one instance per loaded native module, one check after every call."""

from __future__ import annotations

import json
from typing import Any

from triton_backend_sdk import errors


class Api:
    """cffi's view of the native module, with errors raised and out-parameters returned.

    The functions are resolved in the process when the first backend loads; see ``src/table.c``.
    """

    def __init__(self, ffi: Any, lib: Any, hot: Any) -> None:
        self.ffi = ffi
        self.lib = lib
        #: The C types and functions of the request path.
        self.hot = hot

    def check(self, error: Any) -> None:
        """Raise a TRITONSERVER_Error as its exception; it is deleted."""
        if error == self.ffi.NULL:
            return
        code = self.lib.TRITONSERVER_ErrorCode(error)
        message = self.ffi.string(self.lib.TRITONSERVER_ErrorMessage(error)).decode(errors="replace")
        self.lib.TRITONSERVER_ErrorDelete(error)
        raise errors.from_code(code, message)

    def error(self, code: int, message: str) -> Any:
        """Make a TRITONSERVER_Error; whoever it is returned to owns it."""
        return self.lib.TRITONSERVER_ErrorNew(code, message.encode(errors="replace"))

    def get(self, function: Any, handle: Any, result: str) -> Any:
        """Call a getter with one out-parameter of a C type and give its value."""
        out = self.ffi.new(f"{result} *")
        self.check(function(handle, out))
        return out[0]

    def text(self, function: Any, handle: Any) -> str:
        """Call a getter of a string; Triton owns it, so it is copied."""
        return str(self.ffi.string(self.get(function, handle, "const char *")).decode())

    def path(self, function: Any, handle: Any) -> str:
        """Call a getter of an artifact's location in the file system."""
        kind = self.ffi.new("TRITONBACKEND_ArtifactType *")
        location = self.ffi.new("const char **")
        self.check(function(handle, kind, location))
        return str(self.ffi.string(location[0]).decode())

    def parse(self, message: Any) -> Any:
        """Give a TRITONSERVER_Message's JSON; the caller still owns the message."""
        base, size = self.ffi.new("const char **"), self.ffi.new("size_t *")
        self.check(self.lib.TRITONSERVER_MessageSerializeToJson(message, base, size))
        return json.loads(self.ffi.buffer(base[0], size[0])[:])

    def backend_config(self, backend: Any) -> dict[str, Any]:
        """See TRITONBACKEND_BackendConfig; the backend owns the message."""
        message = self.get(self.lib.TRITONBACKEND_BackendConfig, backend, "TRITONSERVER_Message *")
        return dict(self.parse(message))

    def model_config(self, model: Any) -> dict[str, Any]:
        """See TRITONBACKEND_ModelConfig; the message is ours to delete."""
        out = self.ffi.new("TRITONSERVER_Message **")
        self.check(self.lib.TRITONBACKEND_ModelConfig(model, 1, out))
        try:
            return dict(self.parse(out[0]))
        finally:
            self.check(self.lib.TRITONSERVER_MessageDelete(out[0]))

    def api_version(self) -> tuple[int, int]:
        """See TRITONBACKEND_ApiVersion."""
        major, minor = self.ffi.new("uint32_t *"), self.ffi.new("uint32_t *")
        self.check(self.lib.TRITONBACKEND_ApiVersion(major, minor))
        return int(major[0]), int(minor[0])

    def execution_policy(self, backend: Any) -> int:
        """See TRITONBACKEND_BackendExecutionPolicy."""
        function = self.lib.TRITONBACKEND_BackendExecutionPolicy
        return int(self.get(function, backend, "TRITONBACKEND_ExecutionPolicy"))

    def host_policy(self, instance: Any) -> dict[str, dict[str, str]]:
        """See TRITONBACKEND_ModelInstanceHostPolicy; the instance owns the message."""
        function = self.lib.TRITONBACKEND_ModelInstanceHostPolicy
        return dict(self.parse(self.get(function, instance, "TRITONSERVER_Message *")))

    def is_passive(self, instance: Any) -> bool:
        """See TRITONBACKEND_ModelInstanceIsPassive."""
        return bool(self.get(self.lib.TRITONBACKEND_ModelInstanceIsPassive, instance, "bool"))

    def profiles(self, instance: Any) -> list[str]:
        """See TRITONBACKEND_ModelInstanceProfileName."""
        lib, name = self.lib, self.ffi.new("const char **")
        found = []
        for index in range(self.get(lib.TRITONBACKEND_ModelInstanceProfileCount, instance, "uint32_t")):
            self.check(lib.TRITONBACKEND_ModelInstanceProfileName(instance, index, name))
            found.append(self.ffi.string(name[0]).decode())
        return found

    def secondary_devices(self, instance: Any) -> list[tuple[str, int]]:
        """See TRITONBACKEND_ModelInstanceSecondaryDeviceProperties."""
        lib, kind, device = self.lib, self.ffi.new("const char **"), self.ffi.new("int64_t *")
        found = []
        for index in range(
            self.get(lib.TRITONBACKEND_ModelInstanceSecondaryDeviceCount, instance, "uint32_t")
        ):
            self.check(
                lib.TRITONBACKEND_ModelInstanceSecondaryDeviceProperties(instance, index, kind, device)
            )
            found.append((self.ffi.string(kind[0]).decode(), int(device[0])))
        return found

    def serves(self, model: Any, name: str, version: int) -> bool:
        """Tell whether a server takes requests for a model.

        See TRITONSERVER_ServerModelTransactionProperties, which asks no backend.
        """
        server = self.get(self.lib.TRITONBACKEND_ModelServer, model, "TRITONSERVER_Server *")
        flags = self.ffi.new("uint32_t *")
        error = self.lib.TRITONSERVER_ServerModelTransactionProperties(
            server, name.encode(), version, flags, self.ffi.NULL
        )
        if error == self.ffi.NULL:
            return True
        self.lib.TRITONSERVER_ErrorDelete(error)
        return False

    def address(self, handle: Any) -> int:
        """Give a handle as a number, by which the runtime knows its object again."""
        return int(self.ffi.cast("uintptr_t", handle))

    def log(self, level: int, filename: str, line: int, message: str) -> None:
        """Write to Triton's log. See TRITONSERVER_LogMessage."""
        self.check(
            self.lib.TRITONSERVER_LogMessage(level, filename.encode(), line, message.encode(errors="replace"))
        )

    def log_is_enabled(self, level: int) -> bool:
        """See TRITONSERVER_LogIsEnabled."""
        return bool(self.lib.TRITONSERVER_LogIsEnabled(level))
