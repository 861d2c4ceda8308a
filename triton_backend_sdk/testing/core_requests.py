"""How a test sends requests: one response, a future of it, or a stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from triton_backend_sdk.testing.core_call import Call, RequestOptions, Responses, Stream
from triton_backend_sdk.testing.core_infer import Inferencer
from triton_backend_sdk.testing.core_response import CoreResponse

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Requester:
    """The request side of a TritonCore."""

    _inferencer: Inferencer

    def _open_server(self) -> Any:
        raise NotImplementedError

    def infer(
        self,
        model: str,
        inputs: Mapping[str, Any],
        *,
        timeout: float | None = None,
        **options: Unpack[RequestOptions],
    ) -> CoreResponse:
        """Send one request and wait for its response. See TRITONSERVER_ServerInferAsync.

        :param inputs: name to array (strings: an object, S or U array); to a list of arrays, which Triton
            gets as one buffer each; or to :class:`Raw` bytes.
        :param timeout: seconds to wait; for ever if not given, so that one can stop at a breakpoint.
        :param options: those of :class:`RequestOptions`, such as ``request_id`` and ``correlation_id``.
        :raises TritonError: of the class of the error's code, whether Triton refused or the plugin failed.
        :raises TimeoutError: no response came in time.
        """
        return self.infer_async(model, inputs, **options).result(timeout)

    def infer_async(self, model: str, inputs: Mapping[str, Any], **options: Unpack[RequestOptions]) -> Call:
        """Send one request and return at once; arguments are infer's.

        :return: a future of the response, with ``cancel_request()``.
        """
        call = Call()
        self._open_server()
        self._inferencer.submit(call, model, inputs, options)
        return call

    def stream(
        self,
        model: str,
        inputs: Mapping[str, Any],
        *,
        timeout: float | None = None,
        **options: Unpack[RequestOptions],
    ) -> Stream:
        """Send one request whose model gives any number of responses (decoupled).

        :param timeout: seconds to wait for each; for ever if not given.
        :param options: infer's.
        :return: an iterator of the responses, with ``cancel()`` and, once over, ``finals`` and
            ``empty_final``.
        """
        stream = Stream(timeout)
        self._open_server()
        self._inferencer.submit(stream, model, inputs, options)
        return stream

    def responses(
        self,
        model: str,
        inputs: Mapping[str, Any],
        *,
        timeout: float | None = None,
        **options: Unpack[RequestOptions],
    ) -> Responses:
        """Send one request and wait for the final response; give all, errors as TritonError objects.

        Arguments are those of :meth:`stream`.
        """
        return Responses(self.stream(model, inputs, timeout=timeout, **options))

    def live_objects(self) -> dict[str, int]:
        """Count what has not come back: requests, final answers, responses, output buffers and traces."""
        return self._inferencer.live.counts()

    @property
    def late_answers(self) -> int:
        """How many responses or flags came after the final one of their request: none, or a backend errs."""
        return self._inferencer.late

    def wait_released(self, timeout: float = 5.0) -> bool:
        """Wait until :meth:`live_objects` is all zero; False if something is still held after ``timeout`` s.

        A request is released a little after its response; much later if the plugin keeps a view of an input.
        """
        return self._inferencer.live.wait_none(timeout)
