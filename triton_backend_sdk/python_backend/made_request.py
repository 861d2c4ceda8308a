"""What a model gives to make a request: checked as the stock backend does, and ready for the SDK's call."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from triton_backend_sdk.python_backend.inference_trace import InferenceTrace
from triton_backend_sdk.python_backend.pb_error import TritonModelException, text
from triton_backend_sdk.python_backend.preferred_memory import PreferredMemory, place
from triton_backend_sdk.python_backend.tensor import Tensor

if TYPE_CHECKING:
    from triton_backend_sdk import Request

_INT64 = range(-(2**63), 2**63)
_UINT64 = range(2**64)
_UINT32 = range(2**32)


class MadeRequest:
    """The fields of a request that a model makes."""

    __slots__ = ("correlation_id", "model", "options", "outputs", "parameters", "request_id", "timeout",
                 "trace", "version")  # fmt: skip

    def __init__(  # noqa: PLR0917  as the request's
        self,
        request_id: str,
        correlation_id: int | str,
        outputs: Sequence[str],
        model: str,
        version: int,
        timeout: int,
        memory: PreferredMemory | None,
        trace: InferenceTrace | None,
        parameters: dict[str, Any] | None,
    ) -> None:
        self.request_id = request_id
        self.correlation_id = correlation_id
        self.outputs = set(outputs)
        self.model = model
        self.version = version
        self.timeout = timeout
        self.trace = trace
        self.parameters = parameters
        #: What the SDK's call takes, but for the flags, which may change.
        self.options: dict[str, Any] = {"memory": place(memory), "may_block": True}
        self._fill(self.options)

    def _fill(self, options: dict[str, Any]) -> None:
        if self.outputs:
            options["outputs"] = tuple(self.outputs)
        if self.version != -1:
            options["version"] = self.version
        if self.request_id:
            options["request_id"] = self.request_id
        if self.correlation_id:
            options["correlation_id"] = self.correlation_id
        if self.timeout:
            options["timeout_us"] = self.timeout
        if self.parameters:
            options["parameters"] = self.parameters
        if self.trace is not None and self.trace._trace is not None:
            options["trace"] = self.trace._trace

    def parameters_text(self) -> str:
        """Give the parameters as JSON."""
        return json.dumps(self.parameters or {})


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
    _check_outputs(outputs, request_id, model)
    if not isinstance(correlation_id, (int, str)):
        raise TritonModelException("Correlation ID must be integer or string")
    if correlation_id != 0 and not isinstance(correlation_id, str):
        check_whole("correlation_id", correlation_id, _UINT64)
    if version != -1:
        check_whole("model_version", version, _INT64)
    if timeout != 0:
        check_whole("timeout", timeout, _UINT64)
    if memory is not None:
        _check_class("preferred_memory", memory, PreferredMemory)
    if trace is not None:
        _check_class("trace", trace, InferenceTrace)
    if parameters is not None:
        parameters = checked_parameters(parameters)
    return MadeRequest(
        request_id, correlation_id, outputs, model, version, timeout, memory, trace, parameters
    )


def of_received(request: Request, model: str) -> MadeRequest:
    """Give what calling a model with a request that it received takes."""
    made = MadeRequest(
        request.id,
        request.correlation_id,
        request.requested_outputs,
        model,
        -1,
        request.timeout_us,
        None,
        None,
        request.parameters,
    )
    if request.trace:
        made.options["trace"] = request.trace
    return made


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


def _check_inputs(inputs: Any, request_id: str, model: str) -> None:
    if not isinstance(inputs, (list, tuple)):
        raise TypeError(f"InferenceRequest(): inputs must be a list of Tensor, not {inputs!r}")
    for tensor in inputs:
        if tensor is None:
            raise TritonModelException(
                f"Input tensor for request with id '{request_id}' and model name '{model}' should "
                "not be empty."
            )
        if not isinstance(tensor, Tensor):
            raise TypeError(f"InferenceRequest(): inputs must be a list of Tensor, not of {tensor!r}")


def _check_outputs(outputs: Any, request_id: str, model: str) -> None:
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


def _check_class(argument: str, value: Any, wanted: type) -> None:
    if not isinstance(value, wanted):
        raise TypeError(f"InferenceRequest(): {argument} must be a {wanted.__name__}, not {value!r}")
