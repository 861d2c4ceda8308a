"""One table for Triton's datatypes: C enum, wire name, config name, DLPack code, NumPy name, size."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any

from triton_backend_sdk.errors import InvalidArgError, UnsupportedError

if TYPE_CHECKING:
    import numpy as np


class DataType(str, enum.Enum):
    """A Triton datatype by its wire name. See TRITONSERVER_DataType."""

    value: str
    #: Value of TRITONSERVER_DataType.
    c_value: int
    #: Bytes of one element; 0 for BYTES, whose elements differ.
    itemsize: int
    #: (type code, bits) in DLPack; None for BYTES, which DLPack cannot express.
    dlpack: tuple[int, int] | None
    #: Name of the NumPy type; BF16 is ml_dtypes'.
    numpy_name: str

    def __new__(
        cls, value: str, c_value: int, itemsize: int, dlpack: tuple[int, int] | None, numpy_name: str
    ) -> DataType:
        """Give a member its columns of the table."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.c_value = c_value
        member.itemsize = itemsize
        member.dlpack = dlpack
        member.numpy_name = numpy_name
        return member

    BOOL = ("BOOL", 1, 1, (6, 8), "bool")
    UINT8 = ("UINT8", 2, 1, (1, 8), "uint8")
    UINT16 = ("UINT16", 3, 2, (1, 16), "uint16")
    UINT32 = ("UINT32", 4, 4, (1, 32), "uint32")
    UINT64 = ("UINT64", 5, 8, (1, 64), "uint64")
    INT8 = ("INT8", 6, 1, (0, 8), "int8")
    INT16 = ("INT16", 7, 2, (0, 16), "int16")
    INT32 = ("INT32", 8, 4, (0, 32), "int32")
    INT64 = ("INT64", 9, 8, (0, 64), "int64")
    FP16 = ("FP16", 10, 2, (2, 16), "float16")
    FP32 = ("FP32", 11, 4, (2, 32), "float32")
    FP64 = ("FP64", 12, 8, (2, 64), "float64")
    BYTES = ("BYTES", 13, 0, None, "object")
    BF16 = ("BF16", 14, 2, (4, 16), "bfloat16")

    def __str__(self) -> str:
        return self.value

    @property
    def config_name(self) -> str:
        """The name that config.pbtxt uses: TYPE_FP32, and TYPE_STRING for BYTES."""
        return "TYPE_STRING" if self is DataType.BYTES else f"TYPE_{self.value}"

    def numpy(self) -> np.dtype[Any]:
        """Give the NumPy dtype; BF16 needs the ml_dtypes package."""
        import numpy as np  # noqa: PLC0415  a plugin without NumPy does not pay for its import

        if self is not DataType.BF16:
            return np.dtype(self.numpy_name)
        try:
            import ml_dtypes  # noqa: PLC0415  optional
        except ImportError as error:
            message = (
                "NumPy has no bfloat16 of its own: pip install ml_dtypes (or read the tensor with DLPack)"
            )
            raise UnsupportedError(message) from error
        found: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return found

    @classmethod
    def of(cls, dtype: Any) -> DataType:
        """Give the datatype of a wire name, config name, NumPy dtype or C enum value.

        :raises InvalidArgError: Triton has no such datatype.
        """
        found = _LOOKUP.get(dtype) if isinstance(dtype, (str, int)) else None
        if found is None:
            found = _LOOKUP.get(_numpy_name(dtype))
        if found is None:
            raise InvalidArgError(f"{dtype!r} is no Triton datatype; there are {', '.join(cls)}")
        return found


def _numpy_name(dtype: Any) -> str:
    import numpy as np  # noqa: PLC0415  as above

    try:
        described = np.dtype(dtype)
    except TypeError:
        return ""
    return "object" if described.kind in "SUT" else described.name


_LOOKUP: dict[str | int, DataType] = {
    key: member
    for member in DataType
    for key in (member.value, member.config_name, member.c_value, member.numpy_name)
}
