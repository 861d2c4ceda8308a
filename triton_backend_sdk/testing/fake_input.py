"""A request as Triton's core would let it through to the backend: checked against the config first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from triton_backend_sdk.dtypes import DataType
from triton_backend_sdk.errors import InvalidArgError, UnsupportedError
from triton_backend_sdk.model import Model
from triton_backend_sdk.testing.fake_tensor import FakeTensor
from triton_backend_sdk.testing.wire import WireInput, to_wire

_BATCH_NOTE = (
    " NOTE: Setting a non-zero max_batch_size in the model config requires a batch dimension to be "
    "prepended to each input shape. If you want to specify the full shape including the batch dim in your "
    "input dims config, try setting max_batch_size to zero. See the model configuration docs for more info "
    "on max_batch_size."
)


def check_inputs(model: Model, inputs: Mapping[str, Any]) -> tuple[dict[str, FakeTensor], int]:
    """Give the tensors of a request, and its batch size.

    :raises InvalidArgError: the core would refuse the request; the message is the core's.
    """
    declared = {spec["name"]: spec for spec in model.config.get("input", [])}
    required = [name for name, spec in declared.items() if not spec.get("optional")]
    for name in inputs:
        if name not in declared:
            raise InvalidArgError(f"unexpected inference input '{name}' for model '{model.name}'")
    missing = [name for name in required if name not in inputs]
    if missing:
        raise InvalidArgError(
            f"expected {len(required)} inputs but got {len(inputs)} inputs for model '{model.name}', "
            f"missing required input(s) {missing}"
        )
    wires = {name: to_wire(value) for name, value in inputs.items()}
    sizes = {name: _check(model, declared[name], wire) for name, wire in wires.items()}
    if len(set(sizes.values())) > 1:
        raise InvalidArgError(f"the inputs of a request must have one batch size, not {sizes}")
    tensors = {name: _tensor(name, declared[name], wire, model) for name, wire in wires.items()}
    return tensors, next(iter(sizes.values()), 1)


def _check(model: Model, spec: Mapping[str, Any], wire: WireInput) -> int:
    name, dtype = spec["name"], DataType.of(spec["data_type"])
    if wire.dtype is not dtype:
        expects = f"but model '{model.name}' expects '{dtype.value}'"
        raise InvalidArgError(f"inference input '{name}' data-type is '{wire.dtype.value}', {expects}")
    skip = int(model.max_batch_size > 0)
    dims = [-1] * skip + [int(dim) for dim in spec["dims"]]
    if len(dims) != len(wire.shape) or any(d not in (-1, s) for d, s in zip(dims, wire.shape, strict=True)):
        note = _BATCH_NOTE if skip else ""
        raise InvalidArgError(
            f"unexpected shape for input '{name}' for model '{model.name}'. "
            f"Expected {_dims(dims)}, got {_dims(wire.shape)}.{note}"
        )
    expected = int(np.prod(wire.shape, dtype=np.int64)) * dtype.itemsize
    given = sum(buffer.nbytes for buffer in wire.buffers)
    if dtype is not DataType.BYTES and given != expected:
        sizes = f"Expected {expected}, got {given}"
        raise InvalidArgError(
            f"input byte size mismatch for input '{name}' for model '{model.name}'. {sizes}"
        )
    size = wire.shape[0] if skip else 1
    if skip and size > model.max_batch_size:
        limit = f"must be <= {model.max_batch_size} for '{model.name}'"
        raise InvalidArgError(f"inference request batch-size {limit}")
    return size


def _dims(dims: Sequence[int]) -> str:
    return f"[{','.join(map(str, dims))}]"


def _tensor(name: str, spec: Mapping[str, Any], wire: WireInput, model: Model) -> FakeTensor:
    # Several buffers are gathered, as the shim does it; one is the test's own memory.
    data = (
        wire.buffers[0] if len(wire.buffers) == 1 else np.concatenate([np.empty(0, np.uint8), *wire.buffers])
    )
    shape = list(wire.shape)
    if "reshape" in spec:
        inner = [int(dim) for dim in spec["reshape"].get("shape", [])]
        if -1 in inner:
            raise UnsupportedError(f"input '{name}': the fake host does not reshape to -1; use the real core")
        shape = shape[: int(model.max_batch_size > 0)] + inner
    return FakeTensor(name, wire.dtype, shape, data, readonly=True)
