"""Triton's memory pools as the fake host has them: a machine without a GPU."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from triton_backend_sdk.dtypes import DataType
from triton_backend_sdk.enums import MemoryType
from triton_backend_sdk.errors import UnavailableError
from triton_backend_sdk.memory import Placement, size_of
from triton_backend_sdk.tensor import Tensor
from triton_backend_sdk.testing.fake_tensor import FakeTensor


class FakePool:
    """Gives CPU memory, and no other."""

    hot = None

    def allocate(
        self, shape: Sequence[int], dtype: DataType, wanted: Sequence[Placement], name: str = "memory"
    ) -> FakeTensor:
        """See :meth:`ModelInstance.allocate`."""
        nbytes = size_of(shape, dtype)
        if not any(place.memory_type is MemoryType.CPU for place in wanted):
            kinds = ", ".join(place.memory_type.name for place in wanted)
            raise UnavailableError(f"no memory for {nbytes} bytes: the fake host has no {kinds}")
        return FakeTensor(name, dtype, shape, np.zeros(nbytes, np.uint8), readonly=False)

    def like(self, tensor: Tensor, place: Placement) -> FakeTensor:
        """Give memory for a copy of a tensor."""
        return self.allocate(tensor.shape, tensor.dtype, [place], tensor.name)
