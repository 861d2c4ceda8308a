"""What a person types for a tensor, as an array that fits the model, or an error that says what does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triton_backend_sdk.dtypes import DataType
from triton_backend_sdk.errors import UnsupportedError
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.metadata import ModelMetadata, TensorSpec

_FLOATS = (DataType.FP16, DataType.FP32, DataType.FP64, DataType.BF16)


def read_value(text: str, spec: TensorSpec, model: ModelMetadata) -> NDArray[Any]:
    """Make the array of an input from JSON, a comma list, plain text (BYTES) or ``@FILE``.

    A file is one that numpy.save() wrote; for BYTES any other file is one element.

    The batch dimension is added where the model batches and it is missing; a single number or text is put
    into as many dimensions of size 1 as the model wants.

    :raises HandledError: the text, its datatype or its shape does not fit; names input, given and expected.
    """
    array = _from_file(text[1:], spec) if text.startswith("@") else _from_text(text, spec)
    if array.ndim == 0:
        array = array.reshape((1,) * len(spec.shape))
    elif model.max_batch_size > 0 and array.ndim == len(spec.shape) - 1:
        array = array[np.newaxis]
    fits = array.ndim == len(spec.shape) and all(
        want in (-1, have) for want, have in zip(spec.shape, array.shape, strict=True)
    )
    if not fits:
        raise _misfit(spec, f"has shape {list(array.shape)}")
    return array


def _from_file(name: str, spec: TensorSpec) -> NDArray[Any]:
    file = Path(name).expanduser()
    if spec.datatype is DataType.BYTES and file.suffix != ".npy" and file.is_file():
        element = np.empty((), object)
        element[()] = file.read_bytes()  # an image, a document: one element
        return element
    try:
        array: NDArray[Any] = np.load(file, allow_pickle=False)
    except FileNotFoundError:
        raise HandledError(f"input {spec.name}: no file {file}", "check the path after the @") from None
    except (ValueError, EOFError, OSError) as error:
        raise HandledError(
            f"input {spec.name}: {file} is no array that NumPy reads without pickle: {error}",
            "write it with numpy.save(); texts as an array of strings, not of objects",
        ) from error
    if not isinstance(array, np.ndarray):  # an .npz
        raise HandledError(f"input {spec.name}: {file} holds several arrays", "write one with numpy.save()")
    if spec.datatype is DataType.BYTES and array.dtype.kind in "SU":
        return _bytes(array)
    if array.dtype != _dtype(spec):
        raise _misfit(spec, f"has datatype {array.dtype} in {file}")
    return array


def _from_text(text: str, spec: TensorSpec) -> NDArray[Any]:
    if spec.datatype is DataType.BYTES:
        return _texts(text, spec)
    try:
        value = json.loads(text)
    except ValueError:
        try:
            value = [json.loads(part) for part in text.split(",")]
        except ValueError:
            raise _misfit(spec, f"got {text!r}, which is neither JSON nor a comma list") from None
    return _numbers(value, spec)


def _texts(text: str, spec: TensorSpec) -> NDArray[Any]:
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    # A number or an object that happens to be JSON is a text to a model that takes texts.
    array = _array(value if isinstance(value, (str, list)) else text, spec)
    if array.dtype.kind != "U" and array.size:
        raise _misfit(spec, f"got {text}, whose elements are no strings")
    return _bytes(array)


def _bytes(array: NDArray[Any]) -> NDArray[Any]:
    encoded = [item if isinstance(item, bytes) else str(item).encode() for item in array.ravel().tolist()]
    result = np.empty(len(encoded), dtype=np.object_)
    result[:] = encoded
    return result.reshape(array.shape)


def _numbers(value: Any, spec: TensorSpec) -> NDArray[Any]:
    array, dtype = _array(value, spec), _dtype(spec)
    if array.size == 0:
        return array.astype(dtype)
    kinds = {DataType.BOOL: "b"}.get(spec.datatype, "iuf" if spec.datatype in _FLOATS else "iu")
    if array.dtype.kind not in kinds:
        raise _misfit(spec, f"got {_what(array)}")
    if kinds == "iu" and not _in_range(array, np.iinfo(dtype)):
        raise _misfit(spec, f"got {array.min()} to {array.max()}, out of its range")
    with np.errstate(over="ignore"):
        converted = array.astype(dtype)
    if kinds == "iuf" and np.any(np.isinf(converted) & ~np.isinf(array)):
        raise _misfit(spec, f"got {array.min()} to {array.max()}, out of its range")
    return converted


def _in_range(array: NDArray[Any], limits: np.iinfo[Any]) -> bool:
    return int(array.min()) >= limits.min and int(array.max()) <= limits.max


def _array(value: Any, spec: TensorSpec) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.array(value)
    except ValueError:
        raise _misfit(spec, "got rows of different lengths") from None
    except OverflowError:
        raise _misfit(spec, "got a number that is too large for any datatype") from None
    if array.dtype.kind == "O":
        raise _misfit(spec, "got null, an object, or a number that is too large for any datatype")
    return array


def _dtype(spec: TensorSpec) -> np.dtype[Any]:
    try:
        return spec.datatype.numpy()
    except UnsupportedError as error:
        raise HandledError(f"input {spec.name}: {error}", "pip install ml_dtypes") from error


def _what(array: NDArray[Any]) -> str:
    names = {"b": "true/false", "i": "whole numbers", "u": "whole numbers", "f": "fractions", "U": "texts"}
    return names.get(array.dtype.kind, str(array.dtype))


def _misfit(spec: TensorSpec, given: str) -> HandledError:
    return HandledError(
        f"input {spec.name} {given}, and the model expects {spec}", "tbsdk infer --help shows how"
    )
