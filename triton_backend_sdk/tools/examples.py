"""Lines to type that call a model, made from its metadata."""

from __future__ import annotations

import itertools
import json
import math
import shlex
from typing import Any

from triton_backend_sdk.dtypes import DataType
from triton_backend_sdk.tools.metadata import ModelMetadata, TensorSpec

#: Longer tensors are better kept in a file than typed.
_MOST_ELEMENTS = 16
#: Triton takes these from JSON neither as numbers nor otherwise.
_NOT_IN_JSON = (DataType.FP16, DataType.BF16)


def infer_line(model: ModelMetadata, url: str | None = None) -> str:
    """Give a ``tbsdk infer`` line; large inputs are read from a file that the reader has to write."""
    words = ["tbsdk", "infer", model.name]
    for spec in _required(model):
        value = _example(spec, model)
        words += ["-i", f"{spec.name}=" + (f"@{spec.name}.npy" if value is None else _dumps(value))]
    words += [f"--param={key}={_dumps(value)}" for key, value in _parameters(model).items()]
    words += ["--protocol", "grpc"] if model.decoupled else []
    return shlex.join([*words, "--url", url] if url else words)


def curl_line(model: ModelMetadata, url: str) -> str | None:
    """Give a curl line; None where an input is too large to type or has a datatype that JSON cannot carry."""
    if model.decoupled:
        return _curl_stream_line(model, url)
    inputs = []
    for spec in _required(model):
        value = _example(spec, model)
        if value is None or spec.datatype in _NOT_IN_JSON:
            return None
        shape = _shape(spec, model)
        inputs.append({"name": spec.name, "datatype": spec.datatype.value, "shape": shape, "data": value})
    parameters = _parameters(model)
    body = _dumps({"inputs": inputs} | ({"parameters": parameters} if parameters else {}))
    return shlex.join(["curl", "-s", f"http://{url}/v2/models/{model.name}/infer", "-d", body])


def _curl_stream_line(model: ModelMetadata, url: str) -> str | None:
    """Give a line for Triton's generate extension, which takes values and flat lists."""
    values: dict[str, Any] = {}
    for spec in _required(model):
        value = _example(spec, model)
        for _ in _shape(spec, model)[1:]:
            if value is None or len(value) != 1:
                return None
            value = value[0]
        if value is None or spec.datatype in _NOT_IN_JSON:
            return None
        values[spec.name] = value if len(value) > 1 else value[0]
    body = _dumps(values | _parameters(model))
    return shlex.join(["curl", "-sN", f"http://{url}/v2/models/{model.name}/generate_stream", "-d", body])


def _parameters(model: ModelMetadata) -> dict[str, Any]:
    """Give a request of one the id, the start and the end of a sequence, where it needs them."""
    return {"sequence_id": 1, "sequence_start": True, "sequence_end": True} if model.sequences else {}


def _required(model: ModelMetadata) -> list[TensorSpec]:
    return [spec for spec in model.inputs if not spec.optional]


def _shape(spec: TensorSpec, model: ModelMetadata) -> list[int]:
    """Choose sizes for a spec: a batch of one, and few elements where any number will do."""
    batch, rest = ([1], spec.shape[1:]) if model.max_batch_size > 0 else ([], spec.shape)
    # One free dimension shows a row of numbers; several would grow too fast.
    free = 3 if sum(size == -1 for size in rest) == 1 else 1
    return [*batch, *(free if size == -1 else size for size in rest)]


def _example(spec: TensorSpec, model: ModelMetadata) -> Any:
    shape = _shape(spec, model)
    if math.prod(shape) > _MOST_ELEMENTS:
        return None
    return _fill(shape, spec.datatype, itertools.count(1))


def _fill(shape: list[int], datatype: DataType, numbers: itertools.count[int]) -> Any:
    if shape:
        return [_fill(shape[1:], datatype, numbers) for _ in range(shape[0])]
    number = next(numbers)
    if datatype is DataType.BYTES:
        return f"text {number}"
    if datatype is DataType.BOOL:
        return number % 2 == 1
    return number


def _dumps(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
