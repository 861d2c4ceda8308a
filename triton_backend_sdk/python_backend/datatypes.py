"""Datatypes, BYTES and lookups of ``triton_python_backend_utils``: functions that need no server."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from triton_backend_sdk import DataType, TritonError

if TYPE_CHECKING:
    from triton_backend_sdk.python_backend.owner import PythonModel

#: The scalar types by Triton's number; BF16, which the stock backend lacks, is ml_dtypes'.
_SCALARS: dict[int, Any] = {
    dtype.c_value: dtype.numpy().type for dtype in DataType if dtype is not DataType.BF16
}
#: As the stock backend has it, Python's own bool included; :func:`triton_string_to_numpy` knows BF16 too.
TRITON_STRING_TO_NUMPY: dict[str, Any] = {
    dtype.config_name: bool if dtype is DataType.BOOL else _SCALARS[dtype.c_value]
    for dtype in DataType
    if dtype is not DataType.BF16
}
_LENGTH = struct.Struct("<I")


def triton_to_numpy_type(data_type: Any) -> Any:
    """Give the scalar type of a number of TRITONSERVER_DataType; None for another number."""
    for number, scalar in _SCALARS.items():
        if data_type == number:
            return scalar
    return _bfloat16() if data_type == DataType.BF16.c_value else None


def numpy_to_triton_type(data_type: Any) -> int | None:
    """Give the number of TRITONSERVER_DataType for a NumPy type or dtype; None where there is none."""
    for number, scalar in _SCALARS.items():
        if data_type == scalar:
            return number
    if data_type == np.bytes_:
        return DataType.BYTES.c_value
    bfloat16 = _bfloat16()
    return DataType.BF16.c_value if bfloat16 is not None and data_type == bfloat16 else None


def triton_string_to_numpy(triton_type_string: str) -> Any:
    """Give the scalar type of a config's name, such as TYPE_FP32.

    :raises KeyError: there is none.
    """
    if triton_type_string == DataType.BF16.config_name and (bfloat16 := _bfloat16()) is not None:
        return bfloat16
    return TRITON_STRING_TO_NUMPY[triton_type_string]


def _bfloat16() -> Any:
    """Give the scalar type; None without ml_dtypes."""
    try:
        return DataType.BF16.numpy().type
    except TritonError:
        return None


def serialize_byte_tensor(input_tensor: Any) -> Any:
    """Give an array of bytes or other objects as Triton has BYTES: each with its length before it.

    What is not bytes is made a str, in UTF-8. As in the stock backend, an empty array gives ``()``; one of
    numbers, None.
    """
    if input_tensor.size == 0:
        return ()
    if input_tensor.dtype != np.object_ and input_tensor.dtype.type != np.bytes_:
        return None
    parts = []
    for element in input_tensor.ravel().tolist():
        part = element if type(element) is bytes else str(element).encode()
        parts.append(_LENGTH.pack(len(part)))
        parts.append(part)
    return b"".join(parts)


def deserialize_bytes_tensor(encoded_tensor: Any) -> Any:
    """Give the elements of Triton's form of BYTES as a flat array of bytes objects.

    :raises struct.error: it ends in the middle of an element.
    """
    data = memoryview(encoded_tensor).tobytes()
    elements = []
    start = 0
    while start < len(data):
        (size,) = _LENGTH.unpack_from(data, start)
        start += _LENGTH.size
        end = start + size
        if end > len(data):
            struct.unpack_from(f"<{size}s", data, start)  # raises
        elements.append(data[start:end])
        start = end
    return np.array(elements, dtype=np.object_)


def get_input_tensor_by_name(inference_request: Any, name: str) -> Any:
    """Give an input of a request; None where it has none of that name."""
    # What inputs() has made already, if it is one of ours: every model asks, for every input.
    for tensor in getattr(inference_request, "_inputs", None) or inference_request.inputs():
        if tensor.name() == name:
            return tensor
    return None


def get_output_tensor_by_name(inference_response: Any, name: str) -> Any:
    """Give an output of a response; None where it has none of that name."""
    for tensor in inference_response.output_tensors():
        if tensor.name() == name:
            return tensor
    return None


def get_input_config_by_name(model_config: Any, name: str) -> Any:
    """Give an input's entry in a config; None where it has none of that name."""
    return _entry(model_config, "input", name)


def get_output_config_by_name(model_config: Any, name: str) -> Any:
    """Give an output's entry in a config; None where it has none of that name."""
    return _entry(model_config, "output", name)


def using_decoupled_model_transaction_policy(model_config: Any) -> Any:
    """Tell whether a config lets a request have any number of responses."""
    if "model_transaction_policy" not in model_config:
        return False
    return model_config["model_transaction_policy"]["decoupled"]


def _entry(model_config: Any, field: str, name: str) -> Any:
    if field not in model_config:
        return None
    return next((entry for entry in model_config[field] if entry["name"] == name), None)


def names(owner: PythonModel | None) -> dict[str, Any]:
    """Give what the utils module has of this file: the same for all."""
    functions = (
        triton_to_numpy_type,
        numpy_to_triton_type,
        triton_string_to_numpy,
        serialize_byte_tensor,
        deserialize_bytes_tensor,
        get_input_tensor_by_name,
        get_output_tensor_by_name,
        get_input_config_by_name,
        get_output_config_by_name,
        using_decoupled_model_transaction_policy,
    )
    return {
        # A model may add to the table, and only itself see it.
        "TRITON_STRING_TO_NUMPY": dict(TRITON_STRING_TO_NUMPY),
        **{function.__name__: function for function in functions},
        # What the stock backend's file has imported: there are models that use pb_utils.np.
        "np": np,
        "json": json,
        "struct": struct,
    }
