"""What a model gives to make a request: checked as the stock backend does, and ready for the SDK's call."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from triton_backend_sdk.python_backend.inference_trace import InferenceTrace, of
from triton_backend_sdk.python_backend.pb_error import TritonModelException, text
from triton_backend_sdk.python_backend.preferred_memory import PreferredMemory, place
from triton_backend_sdk.python_backend.tensor import Tensor

if TYPE_CHECKING:
    from triton_backend_sdk import Request

_INT64 = range(-(2**63), 2**63)
_UINT64 = range(2**64)
_UINT32 = range(2**32)
#: Of request_id, correlation_id and timeout.
_USUAL = ("", 0, 0)


class Rare(NamedTuple):
    """What most requests leave as it is."""

    request_id: str = ""
    correlation_id: int | str = 0
    timeout: int = 0
    memory: PreferredMemory | None = None
    trace: InferenceTrace | None = None
    parameters: dict[str, Any] | None = None

    def options(self) -> dict[str, Any]:
        """Give those of the SDK's call."""
        given = {
            "request_id": self.request_id,
            "correlation_id": self.correlation_id,
            "timeout_us": self.timeout,
            "parameters": self.parameters,
            "memory": place(self.memory),
            "trace": self.trace and self.trace._trace,
        }
        return {name: value for name, value in given.items() if value}


_NOTHING_RARE = Rare()


class MadeRequest:
    """What a request that a model makes is sent with, beside its inputs and flags."""

    __slots__ = ("options", "outputs", "rare", "target")

    def __init__(self, model: str, version: int, outputs: Sequence[str], rare: Rare) -> None:
        #: Name and version of the called model.
        self.target = (model, version)
        self.outputs = outputs
        self.rare = rare
        #: What the SDK's call takes.
        self.options: dict[str, Any] = {"memory": None, "wait_here": True}
        if outputs:
            self.options["outputs"] = outputs
        if version != -1:
            self.options["version"] = version
        if rare is not _NOTHING_RARE:
            self.options.update(rare.options())

    def parameters_text(self) -> str:
        """Give the parameters as JSON."""
        return json.dumps(self.rare.parameters or {})


def make(  # noqa: PLR0917  the stock backend's order
    request_id: Any,
    correlation_id: Any,
    inputs: Any,
    outputs: Any,
    model: Any,
    version: Any,
    timeout: Any,
    memory: Any,
    trace: Any,
    parameters: Any,
) -> MadeRequest:
    """Check the arguments of ``InferenceRequest()``.

    :raises TypeError: one is of a wrong type.
    :raises TritonModelException: the stock backend's words.
    """
    if type(model) is not str or type(request_id) is not str:
        model = check_text("InferenceRequest", "model_name", model)
        request_id = check_text("InferenceRequest", "request_id", request_id)
    _check_inputs(inputs, request_id, model)
    outputs = _checked_outputs(outputs, request_id, model)
    if version != -1:
        check_whole("model_version", version, _INT64)
    if memory is trace is parameters is None and (request_id, correlation_id, timeout) == _USUAL:
        return MadeRequest(model, version, outputs, _NOTHING_RARE)
    rare = Rare(request_id, correlation_id, timeout, memory, trace, parameters)
    return MadeRequest(model, version, outputs, _checked(rare))


def _checked(rare: Rare) -> Rare:
    if not isinstance(rare.correlation_id, (int, str)):
        raise TritonModelException("Correlation ID must be integer or string")
    if not isinstance(rare.correlation_id, str):
        check_whole("correlation_id", rare.correlation_id, _UINT64)
    check_whole("timeout", rare.timeout, _UINT64)
    if rare.memory is not None:
        _check_class("preferred_memory", rare.memory, PreferredMemory)
    if rare.trace is not None:
        _check_class("trace", rare.trace, InferenceTrace)
    return rare if rare.parameters is None else rare._replace(parameters=checked_parameters(rare.parameters))


def of_received(request: Request, model: str) -> MadeRequest:
    """Give what calling a model with a request that it received takes."""
    rare = Rare(
        request.id, request.correlation_id, request.timeout_us, None, of(request.trace), request.parameters
    )
    return MadeRequest(model, -1, request.requested_outputs, rare)


def check_flags(flags: Any) -> None:
    """Refuse flags that are no uint32."""
    if flags != 0 or type(flags) is not int:
        check_whole("flags", flags, _UINT32)


def check_whole(argument: str, value: Any, allowed: range) -> None:
    """Refuse what is no whole number of a range.

    :raises TypeError: it is not.
    """
    if not isinstance(value, int) or value not in allowed:
        raise TypeError(
            f"InferenceRequest(): {argument} must be an int from {allowed[0]} to {allowed[-1]}, not {value!r}"
        )


def checked_parameters(parameters: Any) -> dict[str, Any]:
    """Give a copy of the parameters of a request.

    :raises TritonModelException: a key or value is of a wrong type.
    """
    _check_class("parameters", parameters, dict)
    for key, value in parameters.items():
        if not isinstance(key, str):
            raise TritonModelException(f"Expect parameters keys to have type str, found type {type(key)}")
        if not isinstance(value, (bool, int, str, float)):
            raise TritonModelException(
                f"Expect parameters values to have type bool/int/str/float, found type {type(value)}"
            )
    return dict(parameters)


def check_text(function: str, argument: str, value: Any) -> str:
    """Give an argument as the str that it must be.

    :raises TypeError: it is None, or anything else.
    """
    if value is None:
        raise TypeError(f"{function}(): {argument} must be given, and not be None")
    return text(function, argument, value)


def check_truth(function: str, argument: str, value: Any) -> bool:
    """Give an argument as the bool that it must be.

    :raises TypeError: it is None, a text or the like.
    """
    if value is None or not hasattr(value, "__bool__"):
        raise TypeError(
            f"{function}(): incompatible function arguments: {argument} must be a bool, not {value!r}"
        )
    return bool(value)


def _check_inputs(inputs: Any, request_id: str, model: str) -> None:
    if not isinstance(inputs, (list, tuple)):
        raise TypeError(f"InferenceRequest(): inputs must be a list of Tensor, not {inputs!r}")
    for tensor in inputs:
        if tensor is None:
            raise TritonModelException(
                f"Input tensor for request with id '{request_id}' and model name '{model}' should "
                "not be empty."
            )
        if type(tensor) is not Tensor and not isinstance(tensor, Tensor):
            raise TypeError(f"InferenceRequest(): inputs must be a list of Tensor, not of {tensor!r}")


def _checked_outputs(outputs: Any, request_id: str, model: str) -> tuple[str, ...]:
    if not isinstance(outputs, (list, tuple)):
        raise TypeError(f"InferenceRequest(): requested_output_names must be a list of str, not {outputs!r}")
    for name in outputs:
        if name == "":
            raise TritonModelException(
                f"Requested output name for request with id '{request_id}' and model name '{model}' should "
                "not be empty."
            )
        if not isinstance(name, str):
            raise TypeError(
                f"InferenceRequest(): requested_output_names must be a list of str, not of {name!r}"
            )
    return tuple(outputs)


def _check_class(argument: str, value: Any, wanted: type) -> None:
    if not isinstance(value, wanted):
        raise TypeError(f"InferenceRequest(): {argument} must be a {wanted.__name__}, not {value!r}")
