"""``batch_input`` and ``batch_output`` of a model's config: what Triton's own backends make of a whole batch.

See the model configuration's documentation of ragged batching; the meanings are those of the backends in C++.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from triton_backend_sdk.dtypes import DataType
from triton_backend_sdk.errors import InternalError

if TYPE_CHECKING:
    import numpy.typing as npt

    from triton_backend_sdk.model import Model
    from triton_backend_sdk.request import Request

    Array = npt.NDArray[Any]
    Shape = tuple[int, ...]


@dataclass(frozen=True)
class BatchInput:
    """An array made of the shapes of one input in all requests of a batch."""

    kind: str
    #: The names that it has for the plugin.
    targets: tuple[str, ...]
    dtype: DataType
    #: The input whose shapes count.
    source: str

    def of(self, shapes: Sequence[Shape]) -> Array:
        """Give the array for the source input's shapes, one per request, batch dimension first."""
        import numpy as np  # noqa: PLC0415  a plugin without NumPy does not pay for its import

        counts = [math.prod(shape) for shape in shapes]
        if self.kind == "BATCH_ELEMENT_COUNT":
            found = np.array(counts)
        elif self.kind == "BATCH_ACCUMULATED_ELEMENT_COUNT":
            found = np.cumsum(counts)
        elif self.kind == "BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO":
            found = np.cumsum([0, *counts])
        elif self.kind == "BATCH_MAX_ELEMENT_COUNT_AS_SHAPE":
            found = np.zeros(max(counts))  # its size is what it says
        elif self.kind in ("BATCH_ITEM_SHAPE", "BATCH_ITEM_SHAPE_FLATTEN"):
            found = np.array([shape[1:] for shape in shapes for _ in range(shape[0])])
            if self.kind == "BATCH_ITEM_SHAPE_FLATTEN":
                found = found.reshape(-1)
        else:
            raise InternalError(f"batch_input {self.targets}: kind {self.kind} is not known here")
        return found.astype(self.dtype.numpy())


@dataclass(frozen=True)
class BatchOutput:
    """An output whose share of each request has the shape of one of its inputs."""

    targets: tuple[str, ...]
    source: str
    #: The output's shape, -1 where the source input's dimension stands.
    shapes: Mapping[str, Shape]

    def shape(self, target: str, source: Shape) -> Shape:
        """Give a request's shape of an output.

        :raises InternalError: the input has too few dimensions.
        """
        wanted = self.shapes[target]
        if any(dim == -1 and at >= len(source) for at, dim in enumerate(wanted)):
            raise InternalError(
                f"batch_output '{target}' of shape {wanted} cannot follow input '{self.source}' "
                f"of shape {source}"
            )
        return tuple(source[at] if dim == -1 else dim for at, dim in enumerate(wanted))

    def scatter(self, target: str, value: Any, sources: Sequence[Shape]) -> list[Array]:
        """Cut the elements of all requests, one after another, into arrays; these are views.

        :param sources: the source input's shape in each request.
        :raises InternalError: there are more or fewer elements than the shapes hold.
        """
        import numpy as np  # noqa: PLC0415

        flat = np.asarray(value).reshape(-1)
        shapes = [self.shape(target, source) for source in sources]
        needed = sum(map(math.prod, shapes))
        if needed != flat.size:
            raise InternalError(
                f"batch_output '{target}' has {flat.size} elements; "
                f"the shapes of '{self.source}' need {needed}"
            )
        found, start = [], 0
        for shape in shapes:
            size = math.prod(shape)
            found.append(flat[start : start + size].reshape(shape))
            start += size
        return found


def read_batch_inputs(model: Model) -> tuple[BatchInput, ...]:
    """Give a config's ``batch_input``; Triton has checked it."""
    return tuple(
        BatchInput(
            entry.get("kind", "BATCH_ELEMENT_COUNT"),
            tuple(entry["target_name"]),
            DataType.of(entry["data_type"]),
            entry["source_input"][0],
        )
        for entry in model.config.get("batch_input", ())
    )


def read_batch_outputs(model: Model) -> dict[str, BatchOutput]:
    """Give a config's ``batch_output`` by the outputs' names."""
    batch = (-1,) if model.max_batch_size > 0 else ()
    shapes = {spec.name: batch + spec.dims for spec in model.outputs}
    found = [
        BatchOutput(tuple(entry["target_name"]), entry["source_input"][0], shapes)
        for entry in model.config.get("batch_output", ())
    ]
    return {name: output for output in found for name in output.targets}


def batch_inputs(requests: Sequence[Request]) -> dict[str, Array]:
    """Give the ``batch_input`` arrays of the model's config for a batch, by target name.

    ``@batched`` adds them to its inputs by itself; this is for an ``execute`` over the list of requests.

    :raises NotFoundError: a request lacks a source input.
    """
    found = {}
    for entry in read_batch_inputs(_model(requests)) if requests else ():
        array = entry.of([request[entry.source].shape for request in requests])
        found.update(dict.fromkeys(entry.targets, array))
    return found


def batch_outputs(requests: Sequence[Request], outputs: Mapping[str, Any]) -> list[dict[str, Array]]:
    """Cut whole outputs that the config calls ``batch_output`` into those of each request, in order.

    ``@batched`` does so by itself; this is for an ``execute`` over the list of requests.

    :param outputs: output name to all requests' elements, one request after another, in any shape.
    :raises InternalError: an output is no ``batch_output``, or its size does not fit.
    """
    known = read_batch_outputs(_model(requests)) if requests else {}
    found: list[dict[str, Array]] = [{} for _ in requests]
    for name, value in outputs.items():
        if name not in known:
            raise InternalError(f"the config has no batch_output '{name}'; it has {sorted(known)}")
        sources = [request[known[name].source].shape for request in requests]
        for share, array in zip(found, known[name].scatter(name, value, sources), strict=True):
            share[name] = array
    return found


def _model(requests: Sequence[Request]) -> Model:
    instance = requests[0].instance
    if instance is None:
        raise InternalError("the requests have outlived their instance, and with it the model's config")
    return instance.model
