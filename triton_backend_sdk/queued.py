"""A request that waits in Triton's queue, as a batch hook sees it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from triton_backend_sdk.dtypes import DataType


class QueuedInput(NamedTuple):
    """What is known of a queued request's input; its data comes with ``execute``.

    See TRITONBACKEND_InputProperties.
    """

    name: str
    dtype: DataType
    #: Dimensions, the batch dimension first where the model batches.
    shape: tuple[int, ...]
    #: Bytes of the data. For BYTES that is the serialized size, 4-byte lengths included.
    nbytes: int


class QueuedRequest:
    """A mapping from input name to :class:`QueuedInput`, which ``batch_include`` gets.

    The request is still Triton's, so there is nothing to answer or to keep here: once the hook has returned,
    any use of it raises InternalError. What it gave (a shape, the parameters) is yours.

    The implementation that runs in the server is C (``_ffi/src/queued.c``).
    """

    __slots__ = ()

    #: The client's request id, "" where it gave none. See TRITONBACKEND_RequestId.
    id: str
    #: The client's parameters with their types. See TRITONBACKEND_RequestParameter.
    parameters: dict[str, str | int | bool | float]
    #: Outputs the client asked for. See TRITONBACKEND_RequestOutputName.
    requested_outputs: tuple[str, ...]
    #: Size of the batch dimension; 1 for a model that does not batch.
    batch_size: int

    def __getitem__(self, name: str) -> QueuedInput:
        raise NotImplementedError

    def __iter__(self) -> Iterator[str]:
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError

    def keys(self) -> list[str]:
        """Give the names of the inputs."""
        return list(self)

    def values(self) -> list[QueuedInput]:
        """Give the inputs."""
        return [self[name] for name in self]

    def items(self) -> list[tuple[str, QueuedInput]]:
        """Give name and properties of each input."""
        return [(name, self[name]) for name in self]


Mapping.register(QueuedRequest)
