"""``InferenceResponse`` of ``triton_python_backend_utils``, and the SDK's Response made of one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from triton_backend_sdk import InferResponse, Response
from triton_backend_sdk.python_backend import pb_error, tensor
from triton_backend_sdk.python_backend.made_request import checked_parameters
from triton_backend_sdk.python_backend.pb_error import ErrorCode, TritonError, TritonModelException
from triton_backend_sdk.python_backend.tensor import Tensor, value

if TYPE_CHECKING:
    from triton_backend_sdk.python_backend.owner import PythonModel


class InferenceResponse:
    """The outputs for a request, or its error."""

    __slots__ = ("__weakref__", "_error", "_output_tensors", "_parameters")

    def __init__(
        self,
        output_tensors: list[Tensor] | tuple[Tensor, ...] = (),
        error: TritonError | None = None,
        parameters: dict[str, Any] | None = None,
    ) -> None:
        self._output_tensors = output_tensors[:] if type(output_tensors) is list else _listed(output_tensors)
        for given in self._output_tensors:
            if type(given) is not Tensor and not isinstance(given, Tensor):
                _refuse(given)
        if error is not None and not isinstance(error, TritonError):
            raise _unfit(f"error={error!r}")
        self._error = error
        self._parameters = None if parameters is None else checked_parameters(parameters)

    def output_tensors(self) -> list[Tensor]:
        """Give the outputs."""
        return list(self._output_tensors)

    def has_error(self) -> bool:
        """Tell whether it is an error."""
        return self._error is not None

    def error(self) -> TritonError | None:
        """Give the error."""
        return self._error

    def parameters(self) -> str:
        """Give the parameters as JSON."""
        return json.dumps(self._parameters or {})


def _listed(given: Any) -> list[Tensor]:
    if not isinstance(given, Sequence) or isinstance(given, (str, bytes)):
        raise _unfit(repr(given))
    return list(given)


def _refuse(given: Any) -> NoReturn:
    if given is None:
        raise TritonModelException("Output tensor for inference response should not be empty.")
    raise _unfit(f"[{given!r}]")


def _unfit(given: str) -> TypeError:
    return TypeError(
        "__init__(): incompatible constructor arguments. The following argument types are supported:\n"
        "    1. c_python_backend_utils.InferenceResponse(output_tensors: List[c_python_backend_utils.Tensor] "
        "= [], error: c_python_backend_utils.TritonError = None, parameters: object = None)\n\n"
        f"Invoked with: {given}"
    )


def as_sdk(response: InferenceResponse) -> Response:
    """Give what the SDK sends for a response."""
    if response._error is not None:
        return Response(error=pb_error.as_sdk(response._error))
    outputs = {}
    for output in response._output_tensors:
        outputs[output._name] = output._array if output._source is None else value(output)
    return Response(outputs, None, response._parameters)


def received(response: InferResponse) -> InferenceResponse:
    """Give what a called model answered."""
    made = InferenceResponse.__new__(InferenceResponse)
    made._output_tensors = [tensor.received(name, response[name]) for name in response]
    made._error = None
    made._parameters = response.parameters
    return made


def failed(message: str, code: int = TritonError.INTERNAL) -> InferenceResponse:
    """Give the response of a call that failed."""
    return InferenceResponse(error=TritonError(message, ErrorCode(code)))


def names(owner: PythonModel | None) -> dict[str, Any]:
    """Give what the utils module has of this file."""
    return {"InferenceResponse": InferenceResponse}
