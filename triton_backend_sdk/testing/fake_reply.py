"""What a client gets for one request, from the first response to the last: the fake of C's ``tb_record``."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from triton_backend_sdk.errors import InternalError, TritonError, describe, from_code
from triton_backend_sdk.response import Response

if TYPE_CHECKING:
    import numpy.typing as npt

    from triton_backend_sdk.model import Model
    from triton_backend_sdk.testing.fake_output import OutputSpecs
    from triton_backend_sdk.testing.fake_sequence import FakeSequence
    from triton_backend_sdk.testing.fake_tensor import FakeTensor

#: What a plugin may raise in the server without ending it; a test's Ctrl-C and pytest's own exceptions pass.
PLUGIN_ERRORS = (Exception, SystemExit)

Parameters = dict[str, bool | int | float | str]


class FakeResponse(dict[str, "npt.NDArray[Any]"]):
    """One response: output name to array, with :attr:`parameters` and :attr:`final`."""

    def __init__(self, outputs: dict[str, npt.NDArray[Any]], parameters: Parameters) -> None:
        super().__init__(outputs)
        self.parameters = parameters
        #: Whether it said that it is the last.
        self.final = False


class FakeResponses(list["FakeResponse | TritonError"]):
    """All responses of a request to a decoupled model; errors are there as TritonError objects."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.results)
        #: How often the final flag was sent: once.
        self.finals = reply.finals
        #: Whether it came alone, without a response.
        self.empty_final = reply.empty_final


class Reply:
    """The responses to a request so far, and whether more may come.

    :param wanted: the outputs that the client asked for.
    """

    def __init__(
        self,
        model: Model,
        specs: OutputSpecs,
        wanted: tuple[str, ...],
        batch_size: int,
        sequence: FakeSequence,
    ) -> None:
        self.model = model
        self.sequence = sequence
        self.specs = specs
        self.wanted = wanted
        self.batch_size = batch_size
        self.decoupled = model.decoupled
        #: Outputs of the response in the making.
        self.outputs: dict[str, FakeTensor] = {}
        self.results: list[FakeResponse | TritonError] = []
        self.finals = 0
        self.empty_final = False
        #: Nothing more can be sent.
        self.answered = False
        #: A generator or a ResponseSender answers.
        self.deferred = False
        #: The request is to be executed again.
        self.rescheduled = False
        self.given_back = False
        self.cancelled = False
        self._lock = threading.Lock()
        self._builder: int | None = None
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def making(self) -> Iterator[None]:
        """One response after another, whatever thread they come from.

        :raises InternalError: this thread makes one already.
        """
        if self._builder == threading.get_ident():
            raise InternalError("this thread is already making a response of this request")
        with self._lock:
            self._builder = threading.get_ident()
            try:
                yield
            finally:
                self._builder = None

    def add_output(self, tensor: FakeTensor) -> None:
        """Make a tensor part of the response in the making.

        :raises InternalError: it is there already, or the request is answered.
        """
        if self.answered:
            raise InternalError(f"output '{tensor.name}': the request was already answered")
        if tensor.name in self.outputs:
            raise InternalError(f"output '{tensor.name}': it was already handed out for this response")
        self.outputs[tensor.name] = tensor

    def send(self, item: Any, index: int = -1, *, final: bool) -> None:
        """Send what a plugin gave for a request.

        :param index: in the list of execute's; below zero where the item is one of a stream's, or a sender's.
        :raises BaseException: what is wrong with it; nothing is sent then.
        """
        with self.making():
            result = self._result(item, index)
            if self.rescheduled:
                self._put(result, final=False)
            else:
                self._put(result, final=final or not self.decoupled)

    def _result(self, item: Any, index: int) -> FakeResponse | TritonError | None:
        if self.answered:
            raise InternalError("the request has its final response: nothing can be sent after it")
        try:
            return self._response(item, index)
        except PLUGIN_ERRORS as error:
            if self.decoupled:
                self.outputs.clear()
            if not _is_error(item):
                raise
            return as_client_sees(error)

    def _response(self, item: Any, index: int) -> FakeResponse | None:
        if isinstance(item, BaseException):
            raise item
        if not isinstance(item, Response):
            what = type(item).__name__
            given = f"execute returned {what} for request {index}"
            if index < 0:
                given = f"the plugin gave {what} as a response"
            raise InternalError(f"{given}; give a Response or an exception")
        if item.sent:
            raise InternalError("this Response already answered a request: make one Response per request")
        item.sent = True
        if item.error is not None:
            raise item.error if isinstance(item.error, BaseException) else InternalError(str(item.error))
        self.specs.write(self, item.outputs)
        parameters = _parameters(item.parameters)
        if item.reschedule:
            self._reschedule(bool(parameters))
        elif not self.decoupled:
            self._check_all_there()
        self.sequence.take(item.states, self.batch_size)
        if item.reschedule and not self.outputs and not parameters:
            return None
        names = [name for name in self.wanted if name in self.outputs]
        return FakeResponse({name: self._array(name) for name in names}, parameters)

    def _reschedule(self, has_parameters: bool) -> None:
        wrong = None
        if self.given_back:
            wrong = "Request.release has given it back"
        elif not self.model.config.get("sequence_batching", {}).get("iterative_sequence"):
            wrong = "the model's config lacks sequence_batching { iterative_sequence: true }"
        elif self.sequence.ends:
            wrong = "it carries SEQUENCE_END, and Triton executes such a request once"
        elif not self.decoupled and (self.outputs or has_parameters):
            wrong = "only a decoupled model can answer it as well"
        if wrong:
            raise InternalError(f"the request cannot be rescheduled: {wrong}")
        self.rescheduled = True

    def _check_all_there(self) -> None:
        for name in () if self.specs.as_given else self.wanted:
            if name not in self.outputs:
                raise InternalError(f"the Response lacks output '{name}', which the client asked for")

    def _array(self, name: str) -> npt.NDArray[Any]:
        array = self.outputs[name].numpy()
        return array.copy() if self.decoupled else array

    def fail(self, error: BaseException) -> None:
        """End the request with an error, unless it is answered."""
        with contextlib.suppress(InternalError), self.making():
            if self.answered:
                return
            if self.decoupled:
                self.outputs.clear()
            self.rescheduled = False
            self._put(as_client_sees(error), final=True)

    def close(self, unanswered: str | None = None) -> None:
        """End the request.

        :param unanswered: why it gets an error if it got nothing before.
        """
        silent = not self.decoupled or (unanswered is not None and not self.results)
        if silent and not self.answered:
            self.fail(InternalError(unanswered or "the request was closed without a response"))
            return
        with contextlib.suppress(InternalError), self.making():
            if not self.answered:
                self.sequence.take(None, self.batch_size)
                self._put(None, final=True)

    def _put(self, result: FakeResponse | TritonError | None, *, final: bool) -> None:
        with self._changed:
            if result is not None:
                self.results.append(result)
                self.outputs = {}
            if final:
                self.finals += 1
                self.empty_final = result is None
                if isinstance(result, FakeResponse):
                    result.final = True
            self.answered = final or self.rescheduled
            self._changed.notify_all()

    def reschedule(self) -> bool:
        """Make a request that asked for it one that can be answered again; False: it did not."""
        if not self.rescheduled:
            return False
        self.answered = self.deferred = self.rescheduled = False
        return True

    def fresh(self) -> Reply:
        """Give one for the same request, to which nothing was sent."""
        reply = Reply(self.model, self.specs, self.wanted, self.batch_size, self.sequence)
        reply.cancelled = self.cancelled
        return reply

    def wait(self, timeout: float, seen: int | None = None) -> bool:
        """Wait until it is answered, or until there are more responses than were seen; False: in vain."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self.answered or (seen is not None and len(self.results) > seen), timeout
            )


def as_client_sees(error: BaseException) -> TritonError:
    """Give the error that reaches the client; the plugin's own is its cause."""
    seen = from_code(*describe(error))
    seen.__cause__ = error
    return seen


def _is_error(item: Any) -> bool:
    return isinstance(item, BaseException) or (isinstance(item, Response) and item.error is not None)


def _parameters(given: Any) -> Parameters:
    try:
        parameters: Parameters = dict(given if given is not None else {})
    except (TypeError, ValueError):
        what = type(given).__name__
        raise InternalError(
            f"Response takes a mapping from name to value as parameters, not {what}"
        ) from None
    for name, value in parameters.items():
        if not isinstance(name, str):
            raise InternalError(f"{name!r} is no name of a response parameter")
        if isinstance(value, int):
            int(value).to_bytes(8, "little", signed=True)  # raises what C does
        elif not isinstance(value, (float, str)):
            raise InternalError(f"response parameter '{name}' is {value!r}; give a bool, int, float or str")
    return parameters
