"""Requests and responses of gRPC's ModelInfer, written for speed: small requests are most of all."""

from __future__ import annotations

from typing import Any

from triton_backend_sdk.runner.messages import InferRequest, OutputWish, check_size
from triton_backend_sdk.runner.plain import parameters
from triton_backend_sdk.runner.result import OutputTensor, Result

FINAL = "triton_final_response"
_SIGN = 1 << 63


def write(pb: Any, request: InferRequest, *, empty_final: bool = False) -> Any:
    """Make a ModelInferRequest.

    :param empty_final: let the server say that a response was the last, by an empty one if need be.
    """
    message = pb.ModelInferRequest(model_name=request.model, model_version=request.version, id=request.id)
    raw, size = message.raw_input_contents, 0
    for tensor in request.inputs:
        made = message.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        if tensor.parameters:
            _put(made.parameters, tensor.parameters)
        data = tensor.data()
        if data is not None:
            size += len(data)
            check_size(size)
            raw.append(data)
    for wish in request.outputs or ():
        _output(message, wish)
    if request.parameters:
        _put(message.parameters, request.parameters)
    if empty_final:
        message.parameters["triton_enable_empty_final_response"].bool_param = True
    return message


def _output(message: Any, wish: OutputWish) -> None:
    made = message.outputs.add(name=wish.name)
    if wish.classification:
        made.parameters["classification"].int64_param = wish.classification
    _put(made.parameters, wish.parameters)


def _put(target: Any, given: Any) -> None:
    for name, value in given.items():
        if isinstance(value, str):
            target[name].string_param = value
        elif isinstance(value, bool):
            target[name].bool_param = value
        elif isinstance(value, int):
            if name == "priority":
                target[name].uint64_param = value
            elif name == "sequence_id" and value >= _SIGN:
                target[name].int64_param = value - 2 * _SIGN  # the server takes its bits
            else:
                target[name].int64_param = value
        else:
            target[name].double_param = value


def read(message: Any) -> Result:
    """Read a ModelInferResponse; the arrays will be views of it."""
    tensors: dict[str, OutputTensor] = {}
    contents = iter(message.raw_output_contents)
    for output in message.outputs:
        given = parameters(output.parameters) if output.parameters else None
        # What lies in shared memory has an entry in the contents too, an empty one.
        data = next(contents, None)
        if given and "shared_memory_region" in given:
            data = None
        elif data is None:
            data = _inline(output.contents)
        name = output.name
        tensors[name] = OutputTensor(name, output.datatype, tuple(output.shape), data, given, output)
    said = parameters(message.parameters) if message.parameters else {}
    return Result(message.model_name, message.model_version, message.id, tensors, said, message)


def _inline(contents: Any) -> Any:
    for field in contents.DESCRIPTOR.fields:
        values = getattr(contents, field.name)
        if len(values):
            return list(values)
    return b""
