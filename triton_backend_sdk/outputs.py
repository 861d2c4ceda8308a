"""Outputs that are no plain buffer, made into one. C asks only for these; see ``_ffi/src/output.c``."""

from __future__ import annotations

from typing import Any

from triton_backend_sdk.dtypes import DataType
from triton_backend_sdk.errors import InternalError


def coerce(value: Any) -> tuple[Any, DataType]:
    """Give a contiguous array with a buffer of one of Triton's datatypes, and that datatype.

    Takes lists of ``bytes`` and ``str``, NumPy string and object arrays, ml_dtypes' bfloat16 and foreign byte
    orders.

    :raises InternalError: it is none of these; the message says what to give instead.
    """
    import numpy as np  # noqa: PLC0415  a plugin without NumPy does not pay for its import

    if isinstance(value, (list, tuple)):
        array = np.array(value, dtype=object)
        if array.size and not isinstance(array.flat[0], (bytes, str)):
            raise InternalError(
                f"it is a {type(value).__name__} of {type(array.flat[0]).__name__}; give an array, "
                "or a list of bytes or str for BYTES"
            )
        return array, DataType.BYTES
    array = np.asarray(value)
    if array.dtype.kind in "SUTO":
        return np.array(array, dtype=object, order="C"), DataType.BYTES
    if array.dtype.name == "bfloat16":
        return array.view(np.uint16), DataType.BF16
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if array.dtype.name not in _PLAIN:
        raise InternalError(f"it is an array of {array.dtype}, which is no datatype of Triton's")
    return array, DataType.of(array.dtype)


_PLAIN = {dtype.numpy_name for dtype in DataType if dtype.dlpack} - {"bfloat16"}
