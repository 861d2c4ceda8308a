"""What a model gives to ``Tensor.from_dlpack`` and NumPy cannot hold: a GPU's memory, bfloat16."""

from __future__ import annotations

from typing import Any

import numpy as np

from triton_backend_sdk import DataType, MemoryType, TritonError
from triton_backend_sdk.python_backend.pb_error import TritonModelException

_CPU, _CUDA, _CUDA_HOST = 1, 2, 3


class Foreign:
    """An object that speaks DLPack, or a capsule of it, with what a Tensor asks of its source."""

    __slots__ = ("_given", "_taken", "memory_type")

    #: An array of it is the model's own.
    readonly = False

    def __init__(self, given: Any) -> None:
        self._given = given
        self._taken = False
        device = _CPU
        if not is_capsule(given):
            device = given.__dlpack_device__()[0]
            if device not in (_CPU, _CUDA, _CUDA_HOST):
                raise TritonModelException(f"DLDevice type {int(device)} is not support by Python backend.")
        self.memory_type = MemoryType.GPU if device == _CUDA else MemoryType.CPU

    @property
    def shape(self) -> tuple[int, ...]:
        """The dimensions."""
        return tuple(self._given.shape)

    @property
    def dtype(self) -> DataType:
        """Triton's datatype."""
        try:
            return DataType.of(str(self._given.dtype).rpartition(".")[2])
        except TritonError as error:
            raise TritonModelException(error.message) from None

    def numpy(self) -> Any:
        """Give an array of its memory.

        :raises TritonModelException: it is not contiguous.
        """
        # Through this object, as NumPy takes no capsules.
        array = np.from_dlpack(self)
        if not array.flags.c_contiguous:
            raise TritonModelException(
                "DLPack tensor is not contiguous. Only contiguous DLPack tensors that are stored in C-Order "
                "are supported."
            )
        return array

    def __dlpack__(self, **wishes: Any) -> Any:
        """Give a capsule."""
        if is_capsule(self._given):
            if self._taken:
                raise TritonModelException(
                    "a DLPack capsule can be used once: make the Tensor of the object itself"
                )
            self._taken = True
            return self._given
        return self._given.__dlpack__(**wishes)

    def __dlpack_device__(self) -> Any:
        """Give DLPack's device type and id."""
        return (_CPU, 0) if is_capsule(self._given) else self._given.__dlpack_device__()


def is_capsule(given: Any) -> bool:
    """Tell whether it is a capsule."""
    return type(given).__name__ == "PyCapsule"


def check_speaks(given: Any) -> None:
    """Refuse what does not speak DLPack.

    :raises TritonModelException: the stock backend's words.
    """
    if not is_capsule(given) and not (hasattr(given, "__dlpack__") and hasattr(given, "__dlpack_device__")):
        raise TritonModelException(
            "Provided tensor is not supported. Tensor must be a DLPack capsule         or have `__dlpack__` "
            "and `__dlpack_device__` attributes"
        )
