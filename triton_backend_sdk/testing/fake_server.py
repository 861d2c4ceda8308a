"""``model.server`` of the fake host: the models that a plugin calls are functions of the test's."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from triton_backend_sdk.calls import Call, InferResponse, Stream
from triton_backend_sdk.dtypes import DataType
from triton_backend_sdk.errors import (
    CancelledError,
    InternalError,
    NotFoundError,
    UnsupportedError,
    describe,
    from_code,
)
from triton_backend_sdk.outputs import coerce
from triton_backend_sdk.server import Kind, Server, arguments, check_names
from triton_backend_sdk.testing.fake_tensor import FakeTensor
from triton_backend_sdk.testing.wire import to_wire

if TYPE_CHECKING:
    import numpy.typing as npt

    Arrays = dict[str, npt.NDArray[Any]]

#: From the arrays of a call to those of its response; a generator of them is a decoupled model.
FakeModel = Callable[[dict[str, Any]], "Mapping[str, Any] | Iterable[Mapping[str, Any]]"]


@dataclass(frozen=True)
class RecordedCall:
    """What a plugin called."""

    model: str
    inputs: Arrays
    #: As they were given to the call.
    options: dict[str, Any]


class FakeServer(Server):
    """Calls functions; what only a repository can tell is refused.

    :param models: by name.
    """

    def __init__(self, models: Mapping[str, FakeModel]) -> None:
        self._hooks, self._own = 0, ""
        self.models = dict(models)
        #: Every call so far.
        self.calls: list[RecordedCall] = []

    def close(self) -> None:
        """Nothing ends with the model here."""

    def _start(self, kind: int, model: str, inputs: Any, options: Any) -> Any:
        check_names(options)
        arguments(**options)
        arrays = {name: _array(value) for name, value in dict(inputs).items()}
        self.calls.append(RecordedCall(model, arrays, dict(options)))
        if model not in self.models:
            known = ", ".join(self.models) or "none"
            raise NotFoundError(
                f"Request for unknown model: '{model}' is not found; the fake host has {known}"
            )
        responses = _responses(self.models[model], model, arrays, options.get("request_id", ""))
        if kind == Kind.STREAM:
            return FakeStream(responses, bare=self.is_decoupled(model))
        call = FakeCall(model, list(responses))
        return call.result() if kind == Kind.INFER else call

    def is_live(self) -> bool:
        """See :meth:`Server.is_live`."""
        return True

    def is_ready(self, name: str | None = None, version: int = -1) -> bool:
        """See :meth:`Server.is_ready`."""
        return name is None or name in self.models

    def is_decoupled(self, name: str, version: int = -1) -> bool:
        """See :meth:`Server.is_decoupled`; a model is if its function is a generator."""
        return inspect.isgeneratorfunction(self.models.get(name))

    def _open(self) -> Any:
        raise UnsupportedError("the fake host has no model repository; use triton_core() or tritonserver()")


class FakeInferResponse(InferResponse):
    """See :class:`InferResponse`."""

    __slots__ = ("_tensors", "id", "model", "parameters", "version")

    def __init__(self, model: str, request_id: str, outputs: Mapping[str, Any]) -> None:
        self.model, self.version, self.id = model, 1, request_id
        self.parameters = {}
        self._tensors = {name: _tensor(name, value) for name, value in outputs.items()}

    def __getitem__(self, name: str) -> FakeTensor:
        try:
            return self._tensors[name]
        except KeyError:
            has = tuple(self._tensors)
            raise NotFoundError(
                f"the response of model '{self.model}' has no output {name!r}; it has {has!r}"
            ) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


class FakeCall(Call):
    """See :class:`Call`; its outcome is there from the start."""

    __slots__ = ("_cancelled", "_model", "_outcomes")

    def __init__(self, model: str, outcomes: list[InferResponse | Exception]) -> None:
        self._model, self._outcomes, self._cancelled = model, outcomes, False

    def result(self, timeout: float | None = None) -> InferResponse:
        """See :meth:`Call.result`."""
        if self._cancelled:
            raise CancelledError(f"the call to model '{self._model}' was cancelled")
        if len(self._outcomes) != 1:
            gave = "more than one response" if self._outcomes else "no response"
            where = "where infer() is for models that give one: it is decoupled, use stream()"
            raise InternalError(f"model '{self._model}' gave {gave}, {where}")
        return _give(self._outcomes[0])

    def done(self) -> bool:
        """See :meth:`Call.done`."""
        return True

    def detach(self) -> None:
        """See :meth:`Call.detach`; nothing is under way."""

    def cancel(self) -> None:
        """See :meth:`Call.cancel`."""
        self._cancelled = True

    def __await__(self) -> Generator[Any, None, InferResponse]:
        yield from ()
        return self.result()


class FakeStream(Stream):
    """See :class:`Stream`; the model's function runs on as it is iterated."""

    __slots__ = ("_bare", "_done", "_outcomes")

    def __init__(self, outcomes: Iterator[InferResponse | Exception], *, bare: bool = True) -> None:
        self._outcomes, self._done, self._bare = outcomes, False, bare

    def __next__(self) -> InferResponse:
        for outcome in self._outcomes if not self._done else ():
            return _give(outcome)
        self._done = True
        raise StopIteration

    async def __anext__(self) -> InferResponse:
        try:
            return next(self)
        except StopIteration:
            raise StopAsyncIteration from None

    def done(self) -> bool:
        """See :meth:`Stream.done`."""
        return self._done

    def detach(self) -> None:
        """See :meth:`Stream.detach`; nothing is under way."""

    def ended_bare(self) -> bool:
        """See :meth:`Stream.ended_bare`: a generator's end comes after its last response."""
        return self._done and self._bare

    def cancel(self, *, drain: bool = False) -> None:
        """See :meth:`Stream.cancel`; a function hears nothing of it."""
        self._done = self._done or not drain


def _responses(
    function: FakeModel, model: str, inputs: Arrays, request_id: str
) -> Iterator[InferResponse | Exception]:
    try:
        returned = function(inputs)
        for outputs in [returned] if isinstance(returned, Mapping) else returned:
            yield FakeInferResponse(model, request_id, outputs)
    except TimeoutError as error:
        yield error
    except Exception as error:
        seen = from_code(*describe(error))
        seen.model = model
        seen.__cause__ = error
        yield seen


def _give(outcome: InferResponse | Exception) -> InferResponse:
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def _array(value: Any) -> npt.NDArray[Any]:
    if isinstance(value, (list, tuple)):
        return np.asarray(coerce(value)[0])
    if hasattr(value, "__array__") or not hasattr(value, "__dlpack__"):
        return np.asarray(value)
    return np.from_dlpack(value)


def _tensor(name: str, value: Any) -> FakeTensor:
    wire = to_wire(_array(value))
    data = np.concatenate([np.empty(0, np.uint8), *wire.buffers])
    return FakeTensor(name, DataType.of(wire.dtype), wire.shape, data, readonly=False)
