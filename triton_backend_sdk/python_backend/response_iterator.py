"""``ResponseIterator`` of ``triton_python_backend_utils``: the responses of a decoupled call."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from triton_backend_sdk import Stream
from triton_backend_sdk import TritonError as SDKError
from triton_backend_sdk.python_backend.infer_response import InferenceResponse, received

if TYPE_CHECKING:
    from triton_backend_sdk.python_backend.owner import PythonModel


class ResponseIterator:
    """Gives each response as it comes; once all are there it can be iterated again, from the first.

    Where the called model ends with a flag of its own the last response is empty. Dropping the iterator
    half-way cancels the call.
    """

    __slots__ = ("__weakref__", "_at", "_failed", "_lock", "_seen", "_stream")

    #: None when it has ended.
    _stream: Stream | None
    _failed: Callable[[Exception], InferenceResponse]

    def __init__(self, *response: InferenceResponse) -> None:
        if len(response) != 1 or not isinstance(response[0], InferenceResponse):
            raise TypeError(
                "__init__(): incompatible constructor arguments. The following argument types are "
                "supported:\n    1. c_python_backend_utils.ResponseIterator(arg0: InferenceResponse)\n\n"
                f"Invoked with: {', '.join(map(repr, response))}"
            )
        self._stream = None
        self._seen = list(response)
        #: How many of those seen are given.
        self._at = 0
        self._lock = threading.Lock()

    def __del__(self) -> None:
        stream = getattr(self, "_stream", None)  # not there where __init__ raised
        if stream is not None and not self._seen:
            stream.detach()  # whoever takes no response at all wants what the called model does

    def __iter__(self) -> ResponseIterator:
        if self._stream is None and self._at >= len(self._seen):
            self._at = 0
        return self

    def __next__(self) -> InferenceResponse:
        """Wait for the next response, or give one of an iteration before again."""
        with self._lock:
            if self._at >= len(self._seen) and self._stream is not None:
                self._keep(self._wait(self._stream))
            return self._give()

    def __aiter__(self) -> ResponseIterator:
        return self.__iter__()

    async def __anext__(self) -> InferenceResponse:
        await self._fetch()
        try:
            return self._give()
        except StopIteration:
            raise StopAsyncIteration from None

    def cancel(self) -> None:
        """Ask the called model to stop; what it still answers can be taken."""
        stream = self._stream
        if stream is not None:
            stream.cancel(drain=True)

    def _give(self) -> InferenceResponse:
        at = self._at
        if at >= len(self._seen):
            raise StopIteration
        self._at = at + 1
        return self._seen[at]

    async def _fetch(self) -> None:
        """Await the next response, so that taking it waits for nothing."""
        stream = self._stream
        if stream is None or self._at < len(self._seen):
            return
        try:
            response = received(await stream.__anext__())
        except StopAsyncIteration:
            self._keep(self._end(stream))
        except Exception as error:
            self._keep(self._error(error))
        else:
            self._keep(response)

    def _wait(self, stream: Stream) -> InferenceResponse | None:
        try:
            return received(next(stream))
        except StopIteration:
            return self._end(stream)
        except Exception as error:
            return self._error(error)

    def _keep(self, response: InferenceResponse | None) -> None:
        if response is not None:
            self._seen.append(response)

    def _end(self, stream: Stream) -> InferenceResponse | None:
        self._stream = None
        return InferenceResponse() if stream.ended_bare() else None

    def _error(self, error: Exception) -> InferenceResponse:
        """Give the response of an error; after one that the model answered with more may come."""
        if not (isinstance(error, SDKError) and error.model):
            self._stream = None
        return self._failed(error)


def iterate(stream: Any, failed: Callable[[Exception], InferenceResponse]) -> ResponseIterator:
    """Give the iterator over a stream of the SDK's, or over the one response there is instead.

    :param failed: makes the response that tells an error.
    """
    if isinstance(stream, InferenceResponse):
        return ResponseIterator(stream)
    made = ResponseIterator.__new__(ResponseIterator)
    made._stream = stream
    made._failed = failed
    made._seen = []
    made._at = 0
    made._lock = threading.Lock()
    return made


def names(owner: PythonModel | None) -> dict[str, Any]:
    """Give what the utils module has of this file."""
    return {"ResponseIterator": ResponseIterator}
