"""How ``@batched`` gathers the requests of one model and scatters the results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from triton_backend_sdk.batch_io import read_batch_inputs, read_batch_outputs
from triton_backend_sdk.errors import InternalError
from triton_backend_sdk.ragged import Ragged
from triton_backend_sdk.response import Response

if TYPE_CHECKING:
    import numpy.typing as npt

    from triton_backend_sdk.model import Model
    from triton_backend_sdk.request import Request
    from triton_backend_sdk.specs import TensorSpec

    Arrays = dict[str, npt.NDArray[Any]]


class BatchPlan:
    """What a model's config and the decorator's options ask for beyond plain concatenation.

    :param ragged: names of the inputs that come as Ragged; True: those that the config calls ragged.
    :param defaults: what a request gets for an optional input that it lacks, by name.
    :raises InternalError: a name is no input's.
    """

    def __init__(self, model: Model, ragged: bool | Iterable[str], defaults: Mapping[str, Any]) -> None:
        self.batching = model.max_batch_size > 0
        self._specs = {spec.name: spec for spec in model.inputs}
        if isinstance(ragged, bool):
            declared = model.config.get("input", []) if ragged else []
            ragged = [entry["name"] for entry in declared if entry.get("allow_ragged_batch")]
        self.ragged = frozenset(ragged)
        for name in (*self.ragged, *defaults):
            if name not in self._specs:
                raise InternalError(
                    f"@batched names an input '{name}', but the config has {list(self._specs)}"
                )
        self._defaults = {
            name: _default(self._specs[name], value, self.batching) for name, value in defaults.items()
        }
        self._inputs = read_batch_inputs(model)
        self._outputs = read_batch_outputs(model)
        #: Nothing is asked for: what the requests give is concatenated.
        self.plain = not (self.ragged or defaults or self._inputs or self._outputs)

    def arrays(self, request: Request) -> Arrays:
        """Give a request's inputs, with what it lacks; where the model does not batch, as a batch of one."""
        found = {name: request[name].numpy() for name in request}
        for name, default in self._defaults.items():
            if name not in found:
                found[name] = _repeat(default, request.batch_size) if self.batching else default
        return found

    def key(self, arrays: Arrays) -> Any:
        """Give what must be equal of requests that are executed at once."""
        batch = int(self.batching)
        return tuple(
            (name, array.shape[batch + 1 :] if name in self.ragged else array.shape[1:])
            for name, array in sorted(arrays.items())
        )

    def gather(self, batch: Sequence[Arrays]) -> dict[str, Any]:
        """Give the function's inputs for requests of one key."""
        import numpy as np  # noqa: PLC0415  a plugin without NumPy does not pay for its import

        inputs: dict[str, Any] = {}
        for name in batch[0]:
            arrays = [arrays[name] for arrays in batch]
            if name in self.ragged:
                inputs[name] = self._gather_ragged(name, arrays)
            else:
                inputs[name] = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
        for entry in self._inputs:
            if entry.source in batch[0]:
                array = entry.of([arrays[entry.source].shape for arrays in batch])
                inputs.update(dict.fromkeys(entry.targets, array))
        return inputs

    def _gather_ragged(self, name: str, arrays: Sequence[npt.NDArray[Any]]) -> Ragged:
        import numpy as np  # noqa: PLC0415

        rows = arrays if self.batching else [array[None] for array in arrays]
        if rows[0].ndim < 2:
            raise InternalError(
                f"input '{name}' has no dimension besides the batch: its rows cannot be ragged"
            )
        pieces = [array.reshape(-1, *array.shape[2:]) for array in rows]
        lengths = np.repeat([array.shape[1] for array in rows], [array.shape[0] for array in rows])
        values = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
        return Ragged(values, np.concatenate([[0], np.cumsum(lengths)]))

    def scatter(
        self, outputs: Mapping[str, Any], requests: Sequence[Request], batch: Sequence[Arrays]
    ) -> list[Response]:
        """Give each request its part of the function's outputs."""
        sizes = [request.batch_size for request in requests]
        shares: list[dict[str, Any]] = [{} for _ in requests]
        for name, value in outputs.items():
            entry = self._outputs.get(name)
            if entry is not None:
                flat = value.values if isinstance(value, Ragged) else value
                parts = entry.scatter(name, flat, [arrays[entry.source].shape for arrays in batch])
            elif isinstance(value, Ragged):
                parts = split_ragged(name, value, sizes, self.batching)
            else:
                parts = split(name, value, sizes)
            for share, part in zip(shares, parts, strict=True):
                share[name] = part
        return [respond(share) for share in shares]


def split(name: str, value: Any, sizes: Sequence[int]) -> list[Any]:
    """Cut an output into its requests' rows, as views.

    :raises InternalError: it has another number of rows than the inputs.
    """
    if len(sizes) == 1:
        return [value]
    if len(value) != sum(sizes):
        raise InternalError(f"output '{name}' has {len(value)} rows for {sum(sizes)} rows of input")
    parts, start = [], 0
    for size in sizes:
        parts.append(value[start : start + size])
        start += size
    return parts


def split_ragged(name: str, value: Ragged, sizes: Sequence[int], batching: bool) -> list[Any]:
    """Cut a Ragged into arrays of shape (batch, length, ...); an exception stands for what is none.

    :raises InternalError: it has another number of rows than the inputs.
    """
    if len(value) != sum(sizes):
        raise InternalError(f"output '{name}' has {len(value)} rows for {sum(sizes)} rows of input")
    parts: list[Any] = []
    start = 0
    for size in sizes:
        rows = value[start : start + size]
        lengths = set(rows.lengths.tolist())
        start += size
        if not batching:
            parts.append(rows.values)
        elif len(lengths) == 1:
            parts.append(rows.values.reshape(size, lengths.pop(), *value.values.shape[1:]))
        else:
            parts.append(
                InternalError(
                    f"output '{name}' has rows of lengths {rows.lengths.tolist()} for one request: "
                    "they are no tensor"
                )
            )
    return parts


def respond(share: dict[str, Any]) -> Response:
    """Make a request's response of its parts; an exception among them fails it."""
    wrong = next((part for part in share.values() if isinstance(part, BaseException)), None)
    return Response(share) if wrong is None else Response(error=wrong)


def _default(spec: TensorSpec, value: Any, batching: bool) -> npt.NDArray[Any]:
    """Give one row of an input (with a batch dimension of 1 where the model batches) full of a value."""
    import numpy as np  # noqa: PLC0415

    dtype = spec.dtype.numpy()
    array = np.asarray(value, dtype)
    if array.ndim == 0 and -1 in spec.dims:
        raise InternalError(
            f"input '{spec.name}' has dims {list(spec.dims)}: "
            "its default must be an array of that many dimensions"
        )
    shape = spec.dims if array.ndim == 0 else array.shape
    if len(shape) != len(spec.dims) or any(w not in (-1, s) for w, s in zip(spec.dims, shape, strict=True)):
        raise InternalError(f"input '{spec.name}' has dims {list(spec.dims)}, its default is {array.shape}")
    row = np.broadcast_to(array, shape)
    return row[None] if batching else row


def _repeat(row: npt.NDArray[Any], count: int) -> npt.NDArray[Any]:
    import numpy as np  # noqa: PLC0415

    return np.broadcast_to(row, (count, *row.shape[1:]))
