"""What an exception of a plugin's says: a code and a message to the client, a traceback to the log."""

from __future__ import annotations

import importlib
import traceback
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import pluggy

from triton_backend_sdk import errors

if TYPE_CHECKING:
    from triton_backend_sdk.model_instance import ModelInstance

#: Files whose frames tell an author nothing.
_NOT_THE_AUTHORS = (
    *(str(Path(str(file)).parent) for file in (__file__, pluggy.__file__, importlib.__file__)),
    "<frozen importlib",
)


def describe(instance: ModelInstance, error: BaseException) -> tuple[int, str]:
    """Give C the code and message for the client; the traceback goes to the log."""
    code, message = code_and_message(error)
    if error.__traceback__ is not None:
        instance.logger.error("%s: execute failed: %s\n%s", instance.name, message, traceback_text(error))
    else:
        instance.logger.error("%s: a request failed: %s", instance.name, message)
    return code, message


def code_and_message(error: BaseException) -> tuple[int, str]:
    """Describe an exception in text that C can take, whatever its author made of it."""
    try:
        code, message = errors.describe(error)
        return int(code), str(message).encode(errors="replace").decode().replace("\0", "\\0")
    except BaseException:
        return errors.InternalError.code, type(error).__name__


def _authors_frames(error: BaseException) -> TracebackType | None:
    """Skip the frames by which the author's code was reached; none, if there are no others."""
    frame = error.__traceback__
    while frame is not None and frame.tb_frame.f_code.co_filename.startswith(_NOT_THE_AUTHORS):
        frame = frame.tb_next
    # A SyntaxError tells its place by itself.
    return frame if frame is not None or isinstance(error, SyntaxError) else error.__traceback__


def traceback_text(error: BaseException) -> str:
    """Format a traceback and let go of its frames.

    They hold arrays, and arrays hold requests; a logging handler that keeps its records would keep those too.
    """
    text = "".join(traceback.format_exception(type(error), error, _authors_frames(error))).rstrip()
    chain: list[BaseException | None] = [error]
    cleared: set[int] = set()
    while chain:
        link = chain.pop()
        if link is not None and id(link) not in cleared:  # `raise error from error` closes a ring
            cleared.add(id(link))
            link.__traceback__ = None
            chain += [link.__cause__, link.__context__]
    return text
