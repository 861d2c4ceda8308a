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
    raised = error.__traceback__ is not None
    if raised and (_authors_frames(error) is not None or not isinstance(error, errors.TritonError)):
        instance.logger.error("%s: execute failed: %s\n%s", instance.name, message, traceback_text(error))
    else:  # such as an error that the SDK itself raises, whose message says it all
        what = "execute failed" if raised else "a request failed"
        instance.logger.error("%s: %s: %s", instance.name, what, message)
        _let_frames_go(error)
    return code, message


def code_and_message(error: BaseException) -> tuple[int, str]:
    """Describe an exception in text that C can take, whatever its author made of it."""
    try:
        code, message = errors.describe(error)
        return int(code), str(message).encode(errors="replace").decode().replace("\0", "\\0")
    except BaseException:
        return errors.InternalError.code, type(error).__name__


def _authors_frames(error: BaseException) -> TracebackType | None:
    """Skip the frames by which the author's code was reached; None if there are no others."""
    frame = error.__traceback__
    while frame is not None and frame.tb_frame.f_code.co_filename.startswith(_NOT_THE_AUTHORS):
        frame = frame.tb_next
    return frame


def in_full(message: str, error: BaseException) -> str:
    """Give a message with what a traceback adds to it, and let go of the error's frames."""
    author, text = error.__cause__, message
    if author is None or _authors_frames(error) is not None:
        text += f"\n{_format(error)}"
    # Else the SDK raised it from the author's, with that one's frames in the message, but not what led to it.
    elif isinstance(author, SyntaxError) or _was_led_to(author):
        text += f"\n{_format(author)}"
    _let_frames_go(error)
    return text


def _was_led_to(error: BaseException) -> bool:
    return error.__cause__ is not None or not (error.__suppress_context__ or error.__context__ is None)


def traceback_text(error: BaseException) -> str:
    """Format a traceback and let go of its frames."""
    text = _format(error)
    _let_frames_go(error)
    return text


def _format(error: BaseException) -> str:
    frames = _authors_frames(error)
    # A SyntaxError tells its place by itself.
    if frames is None and not isinstance(error, SyntaxError):
        frames = error.__traceback__
    return "".join(traceback.format_exception(type(error), error, frames)).rstrip()


def _let_frames_go(error: BaseException) -> None:
    """Take the frames off an error and its causes.

    They hold arrays, and arrays hold requests; a logging handler that keeps its records would keep those too.
    """
    chain: list[BaseException | None] = [error]
    cleared: set[int] = set()
    while chain:
        link = chain.pop()
        if link is not None and id(link) not in cleared:  # `raise error from error` closes a ring
            cleared.add(id(link))
            link.__traceback__ = None
            chain += [link.__cause__, link.__context__]
