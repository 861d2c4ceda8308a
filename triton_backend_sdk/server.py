"""The server that a model runs in: calls to its other models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from triton_backend_sdk.enums import MemoryType
from triton_backend_sdk.errors import InternalError
from triton_backend_sdk.request import Request
from triton_backend_sdk.server_control import ServerControl

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from triton_backend_sdk.calls import Call, InferResponse, Stream
    from triton_backend_sdk.trace import Trace

#: Of a call's timeout, in seconds; three centuries fit the C side's nanoseconds.
_LONGEST = 1e9
_SEQUENCE_START, _SEQUENCE_END = 1, 2
_CPU = MemoryType.CPU.value


class Kind:
    """How a call is waited for: tb_call_kind of call.h."""

    INFER, START, AWAIT, STREAM = range(4)


class CallOptions(TypedDict, total=False):
    """What the methods of :class:`Server` that call a model take beside its name and inputs."""

    #: Of the model; the highest that is ready if not given.
    version: int
    #: Names wanted; all if not given.
    outputs: Sequence[str] | None
    #: What the called model finds in ``request.parameters``.
    parameters: Mapping[str, str | int | bool | float] | None
    request_id: str
    #: As the model's config defines it; 0 is its default.
    priority: int
    #: Seconds for the whole call. It is also the request's own timeout, which a queue policy may heed.
    timeout: float | None
    #: Of a sequence; an int or a str.
    correlation_id: int | str
    sequence_start: bool
    sequence_end: bool
    #: Bits of RequestFlag, for those who have them already.
    flags: int
    #: Where outputs should lie: a MemoryType, or (type, device); None: where the called model likes them to.
    #: CPU memory if not given.
    memory: MemoryType | tuple[MemoryType, int] | None
    #: The Request that the call is made for: its cancellation cancels the call, its trace gets a child.
    parent: Request | None
    #: The request's own timeout in microseconds, which a queue policy may heed; it does not end the wait.
    timeout_us: int
    #: ``request.trace`` that gets the call as a child, without what else a parent means.
    trace: Trace | None
    #: The thread that makes the call waits for it: also where an event loop runs, which stands still
    #: meanwhile; and what would wait in a circle is not even sent.
    wait_here: bool


class Server(ServerControl):
    """The server, as ``model.server``. See TRITONBACKEND_ModelServer.

    ``infer``, ``infer_async``, ``start`` and ``stream`` call a model with ``inputs``, a dict from input name
    to whatever a Response takes, or a Request, whose inputs are handed on. Inputs are not copied: leave
    arrays alone until the response is there. The options are those of CallOptions.

    All of them raise the error of the called model, or Triton's, with its code, and

    - UnavailableError (UNAVAILABLE): nobody would ever answer, as all instances of the model wait for
      calls themselves,
    - CancelledError (CANCELLED): the parent, or the call, was cancelled,
    - TimeoutError: ``timeout`` is over. The call is cancelled then.
    """

    def infer(
        self, model: str, inputs: Mapping[str, Any] | Request, **options: Unpack[CallOptions]
    ) -> InferResponse:
        """Call a model and wait for its response, without the GIL. See TRITONSERVER_ServerInferAsync.

        :raises InternalError: the model is decoupled and gave none or several; or an event loop runs in this
            thread, which would stand still: await :meth:`infer_async` there.
        """
        response: InferResponse = self._start(Kind.INFER, model, inputs, options)
        return response

    async def infer_async(
        self, model: str, inputs: Mapping[str, Any] | Request, **options: Unpack[CallOptions]
    ) -> InferResponse:
        """Call a model and await its response; cancelling the task cancels the call."""
        call = self._start(Kind.AWAIT, model, inputs, options)
        del inputs, options  # a task that failed keeps its frames, until the garbage collector comes
        try:
            response: InferResponse = await call
        finally:
            del call
        return response

    def start(self, model: str, inputs: Mapping[str, Any] | Request, **options: Unpack[CallOptions]) -> Call:
        """Begin a call, and do something else meanwhile, such as beginning others."""
        call: Call = self._start(Kind.START, model, inputs, options)
        return call

    def stream(
        self, model: str, inputs: Mapping[str, Any] | Request, **options: Unpack[CallOptions]
    ) -> Stream:
        """Call a model that gives any number of responses: for ``for`` and ``async for``."""
        stream: Stream = self._start(Kind.STREAM, model, inputs, options)
        return stream

    def _start(self, kind: int, model: str, inputs: Any, options: CallOptions) -> Any:
        if self._handle is None:
            self._open()
        if type(inputs) is not dict and not isinstance(inputs, Request):
            inputs = dict(inputs)
        start = self._api.hot.start
        if not options:
            return start(kind, self._address, self._manager, model, -1, inputs)
        version = options.get("version", -1)
        try:
            given = arguments(**options)
        except TypeError:
            check_names(options)
            raise
        return start(kind, self._address, self._manager, model, version, inputs, *given)


def check_names(options: Mapping[str, Any]) -> None:
    """Refuse options that calls do not have.

    :raises InternalError: names one, and those that there are.
    """
    known = CallOptions.__annotations__
    if unknown := options.keys() - known.keys():
        raise InternalError(f"a call has no option '{min(unknown)}'; there are {', '.join(known)}") from None


def arguments(
    *,
    version: int = -1,  # goes another way
    outputs: Sequence[str] | None = None,
    parameters: Mapping[str, str | int | bool | float] | None = None,
    request_id: str = "",
    priority: int = 0,
    timeout: float | None = None,
    correlation_id: int | str = 0,
    sequence_start: bool = False,
    sequence_end: bool = False,
    flags: int = 0,
    memory: MemoryType | tuple[MemoryType, int] | None = MemoryType.CPU,
    parent: Request | None = None,
    timeout_us: int = 0,
    trace: Trace | None = None,
    wait_here: bool = False,
) -> tuple[Any, ...]:
    """Give the options in the order of call_start.c."""
    if type(request_id) is not str:
        _check("request_id", request_id, str)
    if type(priority) is not int:
        _check("priority", priority, int)
    if type(correlation_id) is not int:
        _check("correlation_id", correlation_id, int, str)
    flags = int(flags) | sequence_start * _SEQUENCE_START | sequence_end * _SEQUENCE_END
    where, device = memory if isinstance(memory, tuple) else (memory, 0)
    wait_us = 0 if timeout is None else _microseconds(timeout)
    return (
        outputs,
        None if parameters is None else dict(parameters),
        request_id,
        priority,
        wait_us,
        correlation_id,
        flags,
        _CPU if where is MemoryType.CPU else where if where is None else MemoryType(where).value,
        device,
        parent,
        timeout_us or wait_us,
        None if trace is None else getattr(trace, "_request", None),
        wait_here is not False and bool(wait_here),
    )


def _microseconds(timeout: float) -> int:
    if not 0 < timeout <= _LONGEST:
        raise InternalError(
            f"a call's timeout is a number of seconds above 0, {_LONGEST:g} at most, not {timeout!r}"
        )
    return max(1, int(timeout * 1e6))


def _check(option: str, value: object, *types: type) -> None:
    if not isinstance(value, types):
        wanted = " or ".join(one.__name__ for one in types)
        raise InternalError(f"a call's {option} is of type {wanted}, not {value!r}")
