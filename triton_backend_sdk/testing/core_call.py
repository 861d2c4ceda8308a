"""A request under way as a test sees it: a future of one response, or a stream of many."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypedDict

from triton_backend_sdk.errors import InternalError, TritonError
from triton_backend_sdk.testing.core_response import CoreResponse

if TYPE_CHECKING:
    from triton_backend_sdk.testing.core_api import CoreApi
    from triton_backend_sdk.testing.core_live import Live
    from triton_backend_sdk.testing.core_trace import CoreTrace


class RequestOptions(TypedDict, total=False):
    """What a request may say besides its inputs.

    - ``outputs``: names wanted; all if not given.
    - ``request_id``: the id that the response repeats.
    - ``parameters``: typed values by name.
    - ``version``: the model's; the policy's latest if not given.
    - ``correlation_id``: of a sequence, an int or a str; ``sequence_start`` and ``sequence_end`` say where
      the request stands in it.
    - ``timeout_us``: microseconds that the request may take, for Triton's queue and ``request.deadline``.
    - ``priority``: for models with priority levels; 1 is the highest.
    - ``trace``: a :class:`CoreTrace` that records the request's activities.
    """

    outputs: Sequence[str] | None
    request_id: str
    parameters: Mapping[str, str | int | bool | float] | None
    version: int
    correlation_id: int | str
    sequence_start: bool
    sequence_end: bool
    timeout_us: int
    priority: int
    trace: CoreTrace | None


class Exchange:
    """A request from its making until it has come back and its final answer too: only then it is deleted.

    Until then it can be cancelled, as a server's front end can, though the backend has released it.
    """

    def __init__(self, api: CoreApi, live: Live, request: Any, sink: Call | Stream) -> None:
        self._api = api
        self._live = live
        self._request = request
        self._lock = threading.Lock()
        self._awaited = {"requests", "answers"}
        self.sink = sink
        #: The inputs' arrays.
        self.keep: list[Any] = []
        #: Final flags seen.
        self.finals = 0
        for kind in self._awaited:
            live.add(kind, 1)

    def cancel(self) -> None:
        """Ask for the request's end. See TRITONSERVER_InferenceRequestCancel. Harmless when it is over."""
        with self._lock:
            if self._request is not None:
                self._api.call("InferenceRequestCancel", self._request)

    def came(self, kind: str) -> bool:
        """Note that the request came back, or its final answer; say whether both have."""
        with self._lock:
            if kind not in self._awaited:
                return False
            self._awaited.discard(kind)
            over = not self._awaited
            if over:
                self._delete()
        self._live.add(kind, -1)
        return over

    def refused(self) -> None:
        """Delete the request: it is still the caller's, and no callback will come."""
        with self._lock:
            self._delete()
        for kind in self._awaited:
            self._live.add(kind, -1)

    def _delete(self) -> None:
        request, self._request = self._request, None
        self._api.call("InferenceRequestDelete", request)


class Call(Future[CoreResponse]):
    """The response, or the TritonError, of a request to a model that gives one response."""

    def __init__(self) -> None:
        super().__init__()
        self.set_running_or_notify_cancel()
        self.exchange: Exchange | None = None
        self._results: list[CoreResponse | TritonError] = []

    def cancel_request(self) -> None:
        """Ask Triton to cancel the request; the backend may answer all the same. Harmless when it is over."""
        if self.exchange is not None:
            self.exchange.cancel()

    def take(self, result: CoreResponse | TritonError | None, final: bool) -> None:
        """Note what Triton's callback brought."""
        if result is not None:
            self._results.append(result)
        if not final or self.done():
            return
        [result] = self._results if len(self._results) == 1 else [_not_one(len(self._results))]
        if isinstance(result, TritonError):
            self.set_exception(result)
        else:
            self.set_result(result)


class Stream(Iterator[CoreResponse]):
    """The responses of one request, as they come: ``for response in core.stream(...)``.

    An error response raises its TritonError from that step, and the next step goes on. Leaving a ``with``
    block cancels the request if it is not over, and waits for its end.
    """

    def __init__(self, timeout: float | None) -> None:
        self.exchange: Exchange | None = None
        #: Whether the final flag came alone, without a response.
        self.empty_final = False
        #: Seconds that the next response may take.
        self.timeout = timeout
        self._items: queue.SimpleQueue[CoreResponse | TritonError | None] = queue.SimpleQueue()
        self._ended = False

    @property
    def finals(self) -> int:
        """How many responses, or empty ones, said that they are the last: one, or something is wrong."""
        return self.exchange.finals if self.exchange is not None else 0

    def cancel(self) -> None:
        """Ask Triton to cancel the request; responses may come until the final one."""
        if self.exchange is not None:
            self.exchange.cancel()

    def take(self, result: CoreResponse | TritonError | None, final: bool) -> None:
        """Note what Triton's callback brought."""
        if result is not None:
            self._items.put(result)
        if final:
            self.empty_final |= result is None
            self._items.put(None)

    def __next__(self) -> CoreResponse:
        item = self._next()
        if item is None:
            raise StopIteration
        if isinstance(item, TritonError):
            raise item
        return item

    def _next(self) -> CoreResponse | TritonError | None:
        if self._ended:
            return None
        try:
            item = self._items.get(timeout=self.timeout)
        except queue.Empty:
            raise TimeoutError(f"no response came within {self.timeout:g} s") from None
        self._ended = item is None
        return item

    def collect(self) -> list[CoreResponse | TritonError]:
        """Wait for the final response; give all that are left, errors as TritonError objects.

        :raises TimeoutError: the next did not come within the stream's timeout.
        """
        return list(iter(self._next, None))

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *exception: object) -> None:
        if not self._ended:
            self.cancel()
            self.collect()


class Responses(list[CoreResponse | TritonError]):
    """All responses of a request, errors as TritonError objects, with what the final flag did."""

    def __init__(self, stream: Stream) -> None:
        super().__init__(stream.collect())
        #: Final flags seen so far.
        self.finals = stream.finals
        #: Whether the final flag came alone, without a response.
        self.empty_final = stream.empty_final


def _not_one(number: int) -> TritonError:
    return InternalError(f"the request got {number} responses; stream() is for models that give any number")
