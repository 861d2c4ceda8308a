"""libtritonserver opened with cffi: the handle on Triton's C API, errors as exceptions, JSON as dicts.

cffi lets go of the GIL around every call. It must: loading a model waits for a thread of Triton's that runs
the plugin, and that thread needs the GIL.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cffi  # type: ignore[import-untyped,unused-ignore]

from triton_backend_sdk import errors

_DECL = Path(__file__).parent.parent / "_ffi" / "decl"


class CoreApi:
    """The functions of one libtritonserver."""

    def __init__(self, library: Path) -> None:
        self.ffi = cffi.FFI()
        for name in ("tritonserver.h", "tritonserver_host.h"):
            self.ffi.cdef((_DECL / name).read_text())
        self._dependencies: list[Any] = []
        #: Not RTLD_GLOBAL: the library brings its own OpenSSL and curl, which Python's modules must not find.
        self.lib: Any = self._open(library)
        major, minor = self.outs("uint32_t", "uint32_t")
        self.check(self.lib.TRITONSERVER_ApiVersion(major, minor))
        self.version = (int(major[0]), int(minor[0]))

    def _open(self, library: Path) -> Any:
        try:
            return self.ffi.dlopen(str(library), self.ffi.RTLD_NOW | self.ffi.RTLD_LOCAL)
        except OSError as error:
            # In the PyPI wheel the dependencies lie beside the library, but only the tritonserver binary's
            # RPATH leads to them all: whatever the loader misses, and is there, is opened first.
            missing = library.parent / _missing(str(error))
            if missing == library or not missing.is_file():
                message = f"cannot open Triton's core: {error}; `tbsdk doctor` looks for what it needs"
                raise errors.UnavailableError(message) from error
        self._dependencies.append(self._open(missing))
        return self._open(library)

    def check(self, error: Any) -> None:
        """Raise a TRITONSERVER_Error, and delete it; NULL is success."""
        if error == self.ffi.NULL:
            return
        try:
            raise self.exception(error)
        finally:
            self.lib.TRITONSERVER_ErrorDelete(error)

    def exception(self, error: Any) -> errors.TritonError:
        """Make the exception of a TRITONSERVER_Error, which stays its owner's."""
        code = int(self.lib.TRITONSERVER_ErrorCode(error))
        return errors.from_code(code, self.text(self.lib.TRITONSERVER_ErrorMessage(error)))

    def error(self, exception: BaseException) -> Any:
        """Make a TRITONSERVER_Error, which the caller passes to Triton."""
        code, message = errors.describe(exception)
        return self.lib.TRITONSERVER_ErrorNew(code, message.encode())

    def text(self, pointer: Any) -> str:
        """Copy a C string; NULL is the empty one."""
        if pointer == self.ffi.NULL:
            return ""
        raw: bytes = self.ffi.string(pointer)
        return raw.decode(errors="replace")

    def call(self, function: str, *arguments: Any) -> None:
        """Call ``TRITONSERVER_<function>`` and raise its error."""
        self.check(getattr(self.lib, "TRITONSERVER_" + function)(*arguments))

    def get(self, function: str, ctype: str, *arguments: Any) -> Any:
        """Call ``TRITONSERVER_<function>`` with an out-parameter of type ``ctype`` last; return its value."""
        out = self.ffi.new(ctype + "*")
        self.call(function, *arguments, out)
        return out[0]

    def outs(self, *ctypes: str) -> list[Any]:
        """Make out-parameters of these types."""
        return [self.ffi.new(ctype + "*") for ctype in ctypes]

    def get_json(self, function: str, *arguments: Any) -> Any:
        """Call a function that hands out a TRITONSERVER_Message, and parse it."""
        message = self.get(function, "TRITONSERVER_Message*", *arguments)
        try:
            base, size = self.outs("const char*", "size_t")
            self.call("MessageSerializeToJson", message, base, size)
            return json.loads(self.ffi.buffer(base[0], size[0])[:])
        finally:
            self.call("MessageDelete", message)

    def new(self, function: str, ctype: str, *arguments: Any) -> Any:
        """Call a ``...New`` function, whose out-parameter is first; the caller owns what it returns."""
        out = self.ffi.new(ctype + "**")
        self.call(function, out, *arguments)
        return out[0]

    def parameter(self, kind: int, value: Any) -> str | int | bool | float | bytes:
        """Read a parameter's value where it points (TRITONSERVER_ParameterType)."""
        if kind == self.lib.TRITONSERVER_PARAMETER_STRING:
            return self.text(self.ffi.cast("const char*", value))
        ctype, python = {
            self.lib.TRITONSERVER_PARAMETER_INT: ("const int64_t*", int),
            self.lib.TRITONSERVER_PARAMETER_BOOL: ("const bool*", bool),
            self.lib.TRITONSERVER_PARAMETER_DOUBLE: ("const double*", float),
        }[kind]
        read: int | bool | float = python(self.ffi.cast(ctype, value)[0])
        return read

    def set_parameters(self, request: Any, parameters: Mapping[str, str | int | bool | float]) -> None:
        """Set parameters of a request with their types.

        :raises InvalidArgError: Triton has no parameter of the value's type.
        """
        for key, value in parameters.items():
            kind = next((name for cls, name in _SETTERS if isinstance(value, cls)), None)
            if kind is None:
                raise errors.InvalidArgError(f"parameter {key!r}: {value!r} is no str, bool, int or float")
            text = value.encode() if isinstance(value, str) else value
            self.call(f"InferenceRequestSet{kind}Parameter", request, key.encode(), text)


#: bool before int, which it is too.
_SETTERS: tuple[tuple[type, str], ...] = ((str, "String"), (bool, "Bool"), (int, "Int"), (float, "Double"))


def _missing(message: str) -> str:
    found = re.search(r"([^\s:/]+): cannot open shared object file", message)
    return found[1] if found else ""


@functools.cache
def open_core(library: Path) -> CoreApi:
    """Open a libtritonserver, once per process: its logger and device state are the process's anyway."""
    return CoreApi(library)
