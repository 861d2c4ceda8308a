"""Tensors by name, as a request holds its inputs and a called model's response its outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from triton_backend_sdk.tensor import Tensor


class Tensors:
    """A mapping from name to :class:`Tensor`; C has the three methods that it is made of."""

    __slots__ = ()

    def __getitem__(self, name: str) -> Tensor:
        """Give a tensor.

        :raises NotFoundError: (a KeyError) there is none of that name.
        """
        raise NotImplementedError

    def __iter__(self) -> Iterator[str]:
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError

    def __contains__(self, name: object) -> bool:
        return name in list(self)

    def get(self, name: str, default: Any = None) -> Any:
        """Give a tensor, or the default where there is none of that name (an optional input)."""
        return self[name] if name in self else default  # noqa: SIM401  this is the get that it asks for

    def keys(self) -> list[str]:
        """Give the names."""
        return list(self)

    def values(self) -> list[Tensor]:
        """Give the tensors."""
        return [self[name] for name in self]

    def items(self) -> list[tuple[str, Tensor]]:
        """Give name and tensor of each."""
        return [(name, self[name]) for name in self]


Mapping.register(Tensors)
