"""``TritonError`` and ``TritonModelException`` of the utils module, and how errors are told."""

from __future__ import annotations

import enum
import traceback
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, ClassVar

from triton_backend_sdk import (
    AlreadyExistsError,
    CancelledError,
    InternalError,
    InvalidArgError,
    NotFoundError,
    UnavailableError,
    UnknownError,
    UnsupportedError,
)
from triton_backend_sdk import TritonError as SDKError

if TYPE_CHECKING:
    from triton_backend_sdk.python_backend.owner import PythonModel

_SDK_ERRORS: dict[int, type[SDKError]] = {
    cls.code: cls
    for cls in (
        UnknownError,
        InternalError,
        NotFoundError,
        InvalidArgError,
        UnavailableError,
        UnsupportedError,
        AlreadyExistsError,
        CancelledError,
    )
}

#: Frames of the SDK's own end the list of a message.
_SDK = str(Path(__file__).parent.parent) + "/"
#: Those of imports do not.
_IMPORTS = frozenset(
    f"{_SDK}python_backend/{name}.py" for name in ("scope", "module_loaders", "module_search", "facade")
)


class TritonModelException(Exception):  # noqa: N818  the stock backend's name
    """What the functions of ``triton_python_backend_utils`` raise."""


class ErrorCode(enum.IntEnum):
    """TRITONSERVER_Error_Code."""

    UNKNOWN = 0
    INTERNAL = 1
    NOT_FOUND = 2
    INVALID_ARG = 3
    UNAVAILABLE = 4
    UNSUPPORTED = 5
    ALREADY_EXISTS = 6
    CANCELLED = 7

    def __str__(self) -> str:
        return f"__ErrorCode.{self.name}"

    def __repr__(self) -> str:
        return f"<__ErrorCode.{self.name}: {self.value}>"


class TritonError:
    """The error of a response: a message, and the code that the client gets."""

    __slots__ = ("__weakref__", "_code", "_message")

    UNKNOWN: ClassVar[ErrorCode] = ErrorCode.UNKNOWN
    INTERNAL: ClassVar[ErrorCode] = ErrorCode.INTERNAL
    NOT_FOUND: ClassVar[ErrorCode] = ErrorCode.NOT_FOUND
    INVALID_ARG: ClassVar[ErrorCode] = ErrorCode.INVALID_ARG
    UNAVAILABLE: ClassVar[ErrorCode] = ErrorCode.UNAVAILABLE
    UNSUPPORTED: ClassVar[ErrorCode] = ErrorCode.UNSUPPORTED
    ALREADY_EXISTS: ClassVar[ErrorCode] = ErrorCode.ALREADY_EXISTS
    CANCELLED: ClassVar[ErrorCode] = ErrorCode.CANCELLED

    def __init__(self, message: str, code: ErrorCode = ErrorCode.INTERNAL) -> None:
        self._message = text("TritonError", "message", message)
        if not isinstance(code, ErrorCode):
            raise TypeError(f"TritonError: code must be one of TritonError's, such as INTERNAL, not {code!r}")
        self._code = code

    def message(self) -> str:
        """Give the text."""
        return self._message

    def code(self) -> ErrorCode:
        """Give the code."""
        return self._code


def as_sdk(error: TritonError) -> SDKError:
    """Give the SDK's exception for an error of a model's."""
    return _SDK_ERRORS[error._code](error._message)


def text(function: str, argument: str, value: Any) -> str:
    """Give a value as the str that an argument must be; bytes are taken for UTF-8, as the stock backend does.

    :raises TypeError: it is neither.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode()
    raise TypeError(f"{function}(): incompatible function arguments: {argument} must be str, not {value!r}")


def told(error: BaseException, *, inner: bool = False) -> str:
    """Describe an exception as the stock backend does: type, text, the model's frames, innermost first.

    :param inner: it is what the text of another raised, and has no such text itself.
    """
    ending = ""
    try:
        said = str(error) or "<EMPTY MESSAGE>"
    except BaseException as other:  # the request that it failed still wants an answer
        said = "<MESSAGE UNAVAILABLE DUE TO ANOTHER EXCEPTION>"
        if not inner:
            ending = f"\nMESSAGE UNAVAILABLE DUE TO EXCEPTION: {told(other, inner=True)}"
    lines = [f"{type(error).__name__}: {said}"]
    if frames := _frames(error):
        lines += ["", "At:", *frames, ""]
    return "\n".join(lines) + ending


def _frames(error: BaseException) -> list[str]:
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    # What raised it may be a function of the utils: the model's frames are those that called it.
    while frames and _is_of_the_sdk(frames[-1]):
        frames.pop()
    found: list[str] = []
    frame = frames[-1] if frames else None
    # By who called whom, as pybind11 does: a coroutine was called by nobody.
    while frame is not None and (_is_an_import(frame) or not _is_of_the_sdk(frame)):
        if _is_an_import(frame):
            while found and found[-1].endswith((": _gcd_import", ": import_module")):
                found.pop()  # a plain import has neither
        else:
            found.append(f"  {frame.f_code.co_filename}({frame.f_lineno}): {frame.f_code.co_name}")
        frame = frame.f_back
    return found


def _is_of_the_sdk(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(_SDK)


def _is_an_import(frame: FrameType) -> bool:
    """Tell whether a frame is one by which a model's file imports another."""
    return frame.f_code.co_filename in _IMPORTS


def names(owner: PythonModel | None) -> dict[str, Any]:
    """Give what the utils module has of this file."""
    return {"TritonError": TritonError, "TritonModelException": TritonModelException}
