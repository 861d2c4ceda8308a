"""Requests and responses of HTTP's infer: a JSON head, and the tensors as binary data behind it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from triton_backend_sdk.dtypes import DataType
from triton_backend_sdk.runner.binding import Signature
from triton_backend_sdk.runner.messages import InferRequest, InputTensor, check_size
from triton_backend_sdk.runner.result import OutputTensor, Result

#: How long the JSON before the binary data is.
HEAD_LENGTH = "Inference-Header-Content-Length"


def write(request: InferRequest) -> tuple[dict[str, str], list[Any]]:
    """Give the headers and the buffers of the body."""
    document: dict[str, Any] = {"id": request.id} if request.id else {}
    document["inputs"] = []
    buffers: list[Any] = []
    size = 0
    for tensor in request.inputs:
        said = dict(tensor.parameters or {})
        data = tensor.buffer()
        if data is not None:
            said["binary_data_size"] = len(data)
            size += len(data)
            check_size(size)
            buffers.append(data)
        form = {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": [int(size) for size in tensor.shape],
        }
        document["inputs"].append({**form, "parameters": said})
    said = dict(request.parameters)
    if request.outputs is None:
        said["binary_data_output"] = True
    else:
        document["outputs"] = [
            _wish(wish.name, wish.classification, wish.parameters) for wish in request.outputs
        ]
    if said:
        document["parameters"] = said
    head = json.dumps(document, separators=(",", ":")).encode()
    return {HEAD_LENGTH: str(len(head)), "Content-Type": "application/octet-stream"}, [head, *buffers]


def _wish(name: str, classification: int, parameters: Mapping[str, Any]) -> dict[str, Any]:
    said = dict(parameters)
    if "shared_memory_region" not in said:
        said["binary_data"] = True
    if classification:
        said["classification"] = classification
    return {"name": name, "parameters": said}


def read(headers: Mapping[str, str], body: bytes) -> Result:
    """Read a response; the arrays will be views of the body."""
    length = int(headers.get(HEAD_LENGTH) or len(body))
    document = json.loads(body[:length])
    view = memoryview(body)
    tensors: dict[str, OutputTensor] = {}
    for form in document.get("outputs", ()):
        said = dict(form.get("parameters", {}))
        size = said.pop("binary_data_size", None)
        data = form.get("data")
        if size is not None:
            data, length = view[length : length + size], length + size
        tensors[form["name"]] = OutputTensor(
            form["name"], form["datatype"], tuple(form["shape"]), data, said, form
        )
    return Result(
        document.get("model_name", ""),
        document.get("model_version", ""),
        document.get("id", ""),
        tensors,
        document.get("parameters", {}),
        document,
    )


def write_generate(request: InferRequest) -> bytes:
    """Give the body of the generate endpoint, which takes one value or a flat list per input."""
    document: dict[str, Any] = {"id": request.id} if request.id else {}
    document |= {tensor.name: _values(tensor) for tensor in request.inputs}
    if request.parameters:
        document["parameters"] = dict(request.parameters)
    return json.dumps(document).encode()


def _values(tensor: InputTensor) -> Any:
    assert tensor.array is not None
    items = [item.decode() if isinstance(item, bytes) else item for item in tensor.array.ravel().tolist()]
    return items[0] if len(items) == 1 else items


def read_generate(document: Mapping[str, Any], signature: Signature) -> Result:
    """Read one event of the generate endpoint: its tensors come flat, their shapes are not told."""
    tensors = {}
    batch = (1,) if signature.model.max_batch_size else ()
    for name, spec in signature.outputs.items():
        if name not in document:
            continue
        values = document[name] if isinstance(document[name], list) else [document[name]]
        array = np.empty(len(values), object)
        if spec.datatype is DataType.BYTES:
            array[:] = [str(value).encode() for value in values]
        else:
            array = np.array(values, spec.datatype.numpy())
        shape = (*batch, len(values))
        tensors[name] = OutputTensor(name, spec.datatype.value, shape, array.reshape(shape))
    said = document.get("parameters", {})
    model, version = document.get("model_name", ""), document.get("model_version", "")
    return Result(model, version, document.get("id", ""), tensors, said, dict(document))
