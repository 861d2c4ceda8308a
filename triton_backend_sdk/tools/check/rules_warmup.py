"""C32: the requests that warm a model up."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from triton_backend_sdk.tools.check.data import byte_size, file_size, fixed, type_name, why_not
from triton_backend_sdk.tools.check.finding import Finding
from triton_backend_sdk.tools.check.repository import ModelDirectory
from triton_backend_sdk.tools.check.rules import Context, Rule, config_rule, declare

C32 = declare("C32", "a warmup request that cannot be made", phase="load")
#: Bytes of a file of texts above which nobody counts them.
_LARGEST_TEXTS = 1 << 26
_LENGTH = 4
_DATA = "zero_data: true, or random_data: true"
#: What is wrong, what Triton says of it, and the mend.
_Fault = tuple[str, "str | None", str]


@config_rule(C32)
def check_warmup(self: Rule, model: ModelDirectory, context: Context) -> Iterator[Finding]:
    """Each is made as the instance is."""
    if model.message.HasField("ensemble_scheduling"):
        return  # C29 speaks of it
    for index, sample in enumerate(model.message.model_warmup):
        path = ("model_warmup", index)
        if not sample.batch_size:
            yield self.of(
                model,
                path,
                f"warmup '{sample.name}' has batch_size 0: it is passed over",
                mend="batch_size: 1",
                severity="warning",
            )
            continue
        for field, (message, says, mend) in _faults(model, sample):
            yield self.of(model, (*path, *field), message, says=says, mend=mend)


def _faults(model: ModelDirectory, sample: Any) -> Iterator[tuple[tuple[str, ...], _Fault]]:
    inputs = {tensor.name: tensor for tensor in model.message.input}
    for name, value in sorted(sample.inputs.items()):
        fault = _data_fault(model, name, value)
        if fault is None and name in inputs:
            fault = _tensor_fault(model, name, value, inputs[name])
        if fault is not None:
            yield ("inputs",), fault
    required = [name for name, tensor in inputs.items() if not tensor.optional]
    lacks = [name for name in required if name not in sample.inputs]
    if lacks:
        here = len([name for name in sample.inputs if name in inputs])
        wants = f"{len(required)} inputs"
        if len(required) < len(model.message.input):
            wants = f"number of inputs between {len(required)} and {len(model.message.input)}"
        said = f"warmup '{sample.name}' lacks input {', '.join(lacks)}"
        says = f"expected {wants} but got {here} inputs for model '{model.name}'"
        first = inputs[lacks[0]]
        value = f"data_type: {type_name(first)} dims: {fixed(first.dims)} zero_data: true"
        yield (), (said, says, f'inputs {{ key: "{lacks[0]}" value {{ {value} }} }}')


def _data_fault(model: ModelDirectory, name: str, value: Any) -> _Fault | None:
    given = value.WhichOneof("input_data_type")
    if any(dim == -1 for dim in value.dims):
        said = f"warmup setting expects all variable-size dimensions are specified for input '{name}'"
        return said, said, f"dims: {fixed(value.dims)}"
    if any(dim < 0 for dim in value.dims):
        said = f"warmup input '{name}' has dims {list(value.dims)}"
        return said, f"input byte size mismatch for input '{name}'", f"dims: {fixed(value.dims)}"
    if given is None:
        said = f"warmup setting expects input '{name}' to have input_data_type set"
        return said, said, _DATA
    return _file_fault(model, name, value) if given == "input_data_file" else None


def _file_fault(model: ModelDirectory, name: str, value: Any) -> _Fault | None:
    path = model.path / "warmup" / value.input_data_file
    there, needed = file_size(path), byte_size(value)
    if there is None:
        return (*why_not(path), f"put the data into {path}, or {_DATA}")
    if needed is not None and there < needed:
        said = (
            f"warmup setting expects {needed} bytes, but the data provided from {value.input_data_file}only "
            f"has {there} bytes"
        )
        return said, said, f"let {path} have {needed} bytes, or {_DATA}"
    if type_name(value) == "TYPE_STRING" and there <= _LARGEST_TEXTS:
        count, wanted = _count_texts(path.read_bytes()), math.prod(value.dims)
        if count != wanted:
            found = "a length that is cut off" if count is None else f"{count} texts"
            said = f"warmup input '{name}': {path} has {found}, but dims are of {wanted}"
            mend = f"write {wanted} texts into it, each after its length in {_LENGTH} bytes"
            return said, f"for inference input '{name}' for model '{model.name}'", mend
    return None


def _count_texts(data: bytes) -> int | None:
    """Count texts, each after its length in four bytes, as Triton does: the last may be cut off."""
    at = count = 0
    while at < len(data):
        if at + _LENGTH > len(data):
            return None
        at += _LENGTH + int.from_bytes(data[at : at + _LENGTH], "little")
        count += 1
    return count


def _tensor_fault(model: ModelDirectory, name: str, value: Any, tensor: Any) -> _Fault | None:
    if value.data_type != tensor.data_type and tensor.data_type:
        wanted = type_name(tensor)
        return (
            f"warmup input '{name}' is {type_name(value)}, but the model takes {wanted}",
            f"inference input '{name}' data-type is '{_protocol(value)}', but model '{model.name}' expects "
            f"'{_protocol(tensor)}'",
            f"data_type: {wanted}",
        )
    dims, wanted_dims = list(value.dims), list(tensor.dims)
    fits = len(dims) == len(wanted_dims) and all(
        want in (-1, dim) for dim, want in zip(dims, wanted_dims, strict=True)
    )
    if wanted_dims and not fits:
        return (
            f"warmup input '{name}' has dims {dims}, but the model takes {wanted_dims}",
            f"unexpected shape for input '{name}' for model '{model.name}'",
            f"dims: {fixed(wanted_dims)}, without the batch",
        )
    return None


def _protocol(tensor: Any) -> str:
    """Give a type's name as clients write it."""
    name = type_name(tensor).removeprefix("TYPE_")
    return {"STRING": "BYTES", "INVALID": "<invalid>"}.get(name, name)
