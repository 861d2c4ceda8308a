"""C18 to C21, C39: inputs and outputs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from triton_backend_sdk.tools.check.data import type_name
from triton_backend_sdk.tools.check.finding import Finding
from triton_backend_sdk.tools.check.repository import ModelDirectory
from triton_backend_sdk.tools.check.rules import Context, Rule, config_rule, declare

C18 = declare(
    "C18", "a tensor without name, data_type or dims, or with a dim that cannot be", phase="tensors"
)
C19 = declare("C19", "a reshape that does not hold what dims hold", phase="tensors")
C20 = declare("C20", "a format or shape tensor that the framework does not have", phase="tensors")
C21 = declare("C21", "two tensors of one name", phase="request")
C39 = declare("C39", "dims that hardly mean what they say", "warning", "ours")
#: What is to be written where it is missing.
_EXAMPLES = {
    "name": 'name: "..." as the model calls it',
    "data_type": "data_type: TYPE_FP32, or what the model takes",
    "dims": "dims: [ ... ], without the batch; -1 for a dim that may be any",
}
_TENSORRT = "tensorrt_plan"
#: Backends that fill in what is missing of a tensor.
COMPLETING = ("onnxruntime", "openvino", "tensorflow", "tensorrt")


def tensors(message: Any) -> Iterator[tuple[str, int, Any]]:
    """Give every tensor of a config, with its field and number."""
    for side in ("input", "output"):
        for index, tensor in enumerate(getattr(message, side)):
            yield side, index, tensor


@config_rule(C18)
def check_tensor(self: Rule, model: ModelDirectory, context: Context) -> Iterator[Finding]:
    """Look for what each must have."""
    completed = context.completed(model)
    may_lack = not context.strict and completed is not None and completed.backend in COMPLETING
    for side, index, tensor in tensors(model.message):
        lacks = _lacks(tensor)
        if lacks:
            named = "" if lacks == "name" else f" '{tensor.name}'"
            yield self.of(
                model,
                (side, index),
                f"{side} {tensor.name or index} has no {lacks}",
                says=f"model {side}{named} must specify '{lacks}'",
                mend=_EXAMPLES[lacks],
                severity="warning" if may_lack else None,
            )
        if type_name(tensor).lstrip("-").isdigit():
            said = f"{side} '{tensor.name}': there is no data type {tensor.data_type}"
            yield self.of(model, (side, index, "data_type"), said, mend="TYPE_FP32, TYPE_STRING, ...")
        for number, dim in enumerate(tensor.dims):
            if dim < 1 and dim != -1:
                yield self.of(
                    model,
                    (side, index, "dims", number),
                    f"{side} '{tensor.name}': dim {dim}; it can be 1 or more, or -1 for any",
                    says=f"model {side} '{tensor.name}' dimension must be integer >= 1, or -1 to indicate a "
                    "variable-size dimension",
                    mend="a number from 1, or -1 where it differs from request to request",
                )


def _lacks(tensor: Any) -> str | None:
    if not tensor.name:
        return "name"
    if not tensor.data_type:
        return "data_type"
    return None if tensor.dims else "dims"


@config_rule(C19)
def check_reshape(self: Rule, model: ModelDirectory, context: Context) -> Iterator[Finding]:
    """As many elements on both sides of each dim that may be any."""
    for side, index, tensor in tensors(model.message):
        if not tensor.HasField("reshape"):
            continue
        if said := _reshape_fault(tensor, model.message.max_batch_size):
            dims, shape = list(tensor.dims), list(tensor.reshape.shape)
            yield self.of(
                model,
                (side, index, "reshape"),
                f"{side} '{tensor.name}': reshape {shape} does not stand for dims {dims}: {said}",
                says=f"model {side} '{tensor.name}' {said}",
                mend="let shape have as many elements as dims, and a -1 for each of theirs",
            )


def _reshape_fault(tensor: Any, max_batch_size: int) -> str | None:
    dims, shape = list(tensor.dims), list(tensor.reshape.shape)
    if not shape and max_batch_size == 0:
        return "cannot have empty reshape for non-batching model as scalar tensors are not supported"
    if any(dim < 1 and dim != -1 for dim in shape):
        return "reshape dimensions must be integer >= 1, or -1 to indicate a variable-size dimension"
    if any(dim < 1 and dim != -1 for dim in dims):
        return None  # C18 speaks of it
    if (-1 in dims) != (-1 in shape):
        return "has different size for dims and reshape"
    parts, reshaped = _parts(dims), _parts(shape)
    if len(parts) != len(reshaped):
        return "has different number of variable-size dimensions for dims and reshape"
    return None if parts == reshaped else "has different size for dims and reshape"


def _parts(dims: Sequence[int]) -> list[int]:
    """Give the number of elements before, between and after the dims that may be any."""
    cuts = [index for index, dim in enumerate(dims) if dim == -1]
    edges = zip([-1, *cuts], [*cuts, len(dims)], strict=True)
    return [math.prod(dims[start + 1 : end]) for start, end in edges]


@config_rule(C20)
def check_format(self: Rule, model: ModelDirectory, context: Context) -> Iterator[Finding]:
    """Mostly TensorRT's."""
    completed = context.completed(model)
    tensorrt = completed is not None and completed.platform == _TENSORRT
    for side, index, tensor in tensors(model.message):
        format_ = getattr(tensor, "format", 0)
        if side == "input" and format_ in (tensor.FORMAT_NHWC, tensor.FORMAT_NCHW) and len(tensor.dims) != 3:
            yield self.of(
                model,
                (side, index, "format"),
                f"input '{tensor.name}': this format is of 3 dims, not {len(tensor.dims)}",
                says="model input NHWC/NCHW require 3 dims",
                mend="leave format out, or write the 3 dims without the batch",
            )
        if tensor.is_shape_tensor and not tensorrt:
            yield self.of(
                model,
                (side, index, "is_shape_tensor"),
                f"{side} '{tensor.name}' is a shape tensor, which only TensorRT has",
                says="shape tensors are only supported for TensorRT platform",
                mend="leave is_shape_tensor out",
            )
        if getattr(tensor, "is_non_linear_format_io", False):
            yield from _non_linear(self, model, (side, index, tensor), tensorrt)


def _non_linear(
    self: Rule, model: ModelDirectory, place: tuple[str, int, Any], tensorrt: bool
) -> Iterator[Finding]:
    side, index, tensor = place
    path = (side, index, "is_non_linear_format_io")
    if not tensorrt:
        yield self.of(
            model,
            path,
            f"{side} '{tensor.name}' has a non-linear format, which only TensorRT has",
            says="Non-linear IO format is only supported for the TensorRT platform",
            mend="leave is_non_linear_format_io out",
        )
    elif len(tensor.dims) != 3:
        yield self.of(
            model,
            path,
            f"{side} '{tensor.name}': a non-linear format is of 3 dims, not {len(tensor.dims)}",
            says=f"Non-linear IO format {side} requires 3 dims",
            mend="write the 3 dims without the batch",
        )


@config_rule(C21)
def check_names(self: Rule, model: ModelDirectory, context: Context) -> Iterator[Finding]:
    """Triton loads such a model, and then counts an input that nobody can send."""
    for side in ("input", "output"):
        seen: dict[str, Any] = {}
        for index, tensor in enumerate(getattr(model.message, side)):
            if not tensor.name or tensor.name not in seen:
                seen[tensor.name] = tensor
                continue
            counts = side == "input" and not (tensor.optional or seen[tensor.name].optional)
            required = sum(not each.optional for each in model.message.input) if counts else 0
            yield self.of(
                model,
                (side, index, "name"),
                f"{side} '{tensor.name}' is there twice" + (": every request would fail" if counts else ""),
                says=f"expected {required} inputs but got" if counts else None,
                mend="take one out, or call it something else",
                severity="error" if counts else "warning",
            )


@config_rule(C39)
def check_dims(self: Rule, model: ModelDirectory, context: Context) -> Iterator[Finding]:
    """With max_batch_size Triton adds the batch's dim itself."""
    for side, index, tensor in tensors(model.message):
        if model.message.max_batch_size > 0 and len(tensor.dims) > 1 and tensor.dims[0] == -1:
            yield self.of(
                model,
                (side, index, "dims", 0),
                f"{side} '{tensor.name}': with max_batch_size Triton adds the dim of the batch itself, so "
                f"that a request has {[-1, *tensor.dims]}",
                mend=f"dims: {list(tensor.dims)[1:]}, if the first -1 is the batch",
            )
        if type_name(tensor) == "TYPE_FP64":
            yield self.of(
                model,
                (side, index, "data_type"),
                f"{side} '{tensor.name}' is TYPE_FP64: clients must send float64, which few models compute "
                "with",
                mend="TYPE_FP32, if that is what the model takes",
                severity="note",
            )
