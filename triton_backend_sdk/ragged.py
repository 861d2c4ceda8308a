"""Rows of different lengths as one array: what a ragged batch is to NumPy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from triton_backend_sdk.errors import InternalError

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]


class Ragged:
    """Rows one after another in ``values``: row i is ``values[offsets[i]:offsets[i + 1]]``.

    ``len(ragged)`` is the number of rows, ``ragged[i]`` is one of them, a view, and a slice is a Ragged over
    the same memory. As an output of a ``@batched`` function each request gets its own rows back.

    :param values: shape (sum of the lengths, ...).
    :param offsets: shape (rows + 1,), from 0 to ``len(values)``.
    :raises InternalError: the two do not fit.
    """

    __slots__ = ("offsets", "values")

    def __init__(self, values: Array, offsets: Array) -> None:
        import numpy as np  # noqa: PLC0415  a plugin without NumPy does not pay for its import

        self.values: Array = np.asarray(values)
        self.offsets: npt.NDArray[np.int64] = np.asarray(offsets, np.int64)
        lengths = np.diff(self.offsets) if self.offsets.ndim == 1 and self.offsets.size else np.array([-1])
        if self.values.ndim == 0 or (lengths.size and lengths.min() < 0) or self.offsets[0] != 0:
            raise InternalError("the offsets of a Ragged must rise from 0")
        if self.offsets[-1] != len(self.values):
            raise InternalError(
                f"a Ragged has {len(self.values)} values, but its offsets end at {self.offsets[-1]}"
            )

    @classmethod
    def from_rows(cls, rows: Iterable[Any]) -> Ragged:
        """Make one of arrays that differ in their first dimension alone; the values are copied.

        :raises InternalError: they differ in more, or there is none.
        """
        import numpy as np  # noqa: PLC0415

        arrays = [np.asarray(row) for row in rows]
        if len({array.shape[1:] for array in arrays}) != 1 or not arrays[0].ndim:
            shapes = [array.shape for array in arrays]
            raise InternalError(f"rows of a Ragged may differ in their first dimension alone, not {shapes}")
        return cls(np.concatenate(arrays), np.cumsum([0, *map(len, arrays)]))

    @property
    def lengths(self) -> npt.NDArray[Any]:
        """The rows' lengths, shape (rows,)."""
        return self.offsets[1:] - self.offsets[:-1]

    @property
    def row_ids(self) -> npt.NDArray[Any]:
        """For each value the number of its row: for ``np.bincount``, ``np.add.at`` and the like."""
        import numpy as np  # noqa: PLC0415

        return np.repeat(np.arange(len(self)), self.lengths)

    @property
    def mask(self) -> npt.NDArray[Any]:
        """True where :meth:`pad` puts a value and not padding, shape (rows, longest)."""
        return self._mask(1)

    def _mask(self, multiple_of: int) -> npt.NDArray[Any]:
        import numpy as np  # noqa: PLC0415

        longest = int(self.lengths.max(initial=0))
        width = -(-longest // multiple_of) * multiple_of
        return np.arange(width) < self.lengths[:, None]

    def pad(self, value: Any = 0, *, multiple_of: int = 1) -> Array:
        """Give a new array of shape (rows, longest, ...), rows filled up with ``value`` at their ends.

        :param multiple_of: round the longest up to a multiple of it.
        """
        import numpy as np  # noqa: PLC0415

        mask = self._mask(multiple_of)
        padded = np.full((*mask.shape, *self.values.shape[1:]), value, self.values.dtype)
        padded[mask] = self.values
        return padded

    def unpad(self, padded: Array) -> Ragged:
        """Cut an array of shape (rows, longest or more, ...) back to the lengths of the rows.

        :raises InternalError: it has another number of rows, or is too narrow.
        """
        import numpy as np  # noqa: PLC0415

        array, mask = np.asarray(padded), self.mask
        if array.ndim < 2 or array.shape[0] != len(self) or array.shape[1] < mask.shape[1]:
            raise InternalError(
                f"an array of shape {array.shape} holds no {mask.shape} of rows and longest row"
            )
        return Ragged(array[:, : mask.shape[1]][mask], self.offsets)

    def like(self, values: Array) -> Ragged:
        """Give other values in rows of the same lengths: ``x.like(f(x.values))``."""
        return Ragged(values, self.offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step != 1:
                raise IndexError("a slice of a Ragged has no step")
            offsets = self.offsets[start : max(start, stop) + 1]
            return Ragged(self.values[offsets[0] : offsets[-1]], offsets - offsets[0])
        at = range(len(self))[index]
        return self.values[self.offsets[at] : self.offsets[at + 1]]

    def __iter__(self) -> Iterator[Array]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"<Ragged {len(self)} rows, {self.values.shape} {self.values.dtype}>"
