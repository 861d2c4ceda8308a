"""A call's tensors bound to a model's inputs, by position or by name, as the model wants them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from triton_backend_sdk.runner.arrays import Cast, as_array
from triton_backend_sdk.runner.messages import InputTensor
from triton_backend_sdk.tools.metadata import ModelMetadata, TensorSpec

if TYPE_CHECKING:
    import numpy.typing as npt

#: Whether an input without the model's batch dimension gets one of size 1.
Batch: TypeAlias = Literal["exact", "auto"]
BATCHES = ("exact", "auto")


class Signature:
    """A model's inputs and outputs: ``str(signature)`` reads like a function's."""

    def __init__(self, metadata: Mapping[str, Any], config: Mapping[str, Any]) -> None:
        self.model = ModelMetadata.of(metadata, config)
        self.inputs: dict[str, TensorSpec] = {spec.name: spec for spec in self.model.inputs}
        self.outputs: dict[str, TensorSpec] = {spec.name: spec for spec in self.model.outputs}
        self.required = frozenset(spec.name for spec in self.model.inputs if not spec.optional)
        #: Their shapes are without the batch dimension, whatever the metadata says.
        self.shape_tensors = frozenset(
            row["name"] for row in config.get("input", ()) if row.get("is_shape_tensor")
        )

    def __str__(self) -> str:
        given = ", ".join(
            f"{spec.name}: {spec}{' = None' if spec.optional else ''}" for spec in self.model.inputs
        )
        made = ", ".join(f"{spec.name}: {spec}" for spec in self.model.outputs)
        often = ", any number of times" if self.model.decoupled else ""
        return f"{self.model.name}({given}) -> {made or 'nothing'}{often}"

    def __repr__(self) -> str:
        return f"<Signature {self}>"

    def bind(
        self,
        positional: Sequence[Any],
        named: Mapping[str, Any],
        *,
        cast: Cast = "safe",
        batch: Batch = "exact",
    ) -> list[InputTensor]:
        """Give the inputs of a request; an optional input may be left out, or be None.

        :raises TypeError: a name that is no input, an input given twice, not at all, or of another datatype.
        :raises ValueError: another shape, or a value out of range.
        """
        if not named and len(positional) == len(self.inputs):
            values: Mapping[str, Any] = dict(zip(self.inputs, positional, strict=True))
        else:
            values = self._names(positional, named)
        return [
            self._tensor(self.inputs[name], value, cast, batch)
            for name, value in values.items()
            if value is not None or name in self.required
        ]

    def _names(self, positional: Sequence[Any], named: Mapping[str, Any]) -> dict[str, Any]:
        if len(positional) > len(self.inputs):
            raise TypeError(
                f"{self.model.name} takes {len(self.inputs)} input(s), {len(positional)} were given: {self}"
            )
        values = dict(zip(self.inputs, positional, strict=False))
        for name, value in named.items():
            if name not in self.inputs:
                raise TypeError(f"{self.model.name} has no input or option {name!r}: {self}")
            if name in values:
                raise TypeError(f"input {name!r} was given twice, by position and by name: {self}")
            values[name] = value
        missing = [name for name in self.inputs if name in self.required and name not in values]
        if missing:
            raise TypeError(
                f"{self.model.name} needs {len(missing)} more input(s), {', '.join(missing)}; "
                f"{len(values)} of {len(self.inputs)} were given: {self}"
            )
        return values

    def _tensor(self, spec: TensorSpec, value: Any, cast: Cast, batch: Batch) -> InputTensor:
        datatype = spec.datatype
        try:
            array = as_array(value, datatype, cast)
        except (TypeError, ValueError) as error:
            raise type(error)(f"input {spec.name!r}: {error}") from error
        if not _fits(array.shape, spec.shape):
            array = self._reshaped(array, spec, batch, scalar=not hasattr(value, "shape"))
        return InputTensor(spec.name, datatype.value, array.shape, array)

    def _reshaped(
        self, array: npt.NDArray[Any], spec: TensorSpec, batch: Batch, scalar: bool
    ) -> npt.NDArray[Any]:
        batches = self.model.max_batch_size > 0
        if spec.name in self.shape_tensors and _fits(array.shape, spec.shape[1:]):
            return array
        if scalar and array.ndim == 0 and _fits((1,) * len(spec.shape), spec.shape):
            return array.reshape((1,) * len(spec.shape))
        without = batches and _fits(array.shape, spec.shape[1:])
        if without and batch == "auto":
            return array[np.newaxis]
        hint = ""
        if without:
            hint = f'; its first dimension is the batch: give {[1, *array.shape]}, or say batch="auto"'
        raise ValueError(
            f"input {spec.name!r}: got shape {list(array.shape)}, the model wants {list(spec.shape)} "
            f"(-1 is any size){hint}"
        )


def _fits(given: tuple[int, ...], wanted: Sequence[int]) -> bool:
    if len(given) != len(wanted):
        return False
    return all(want in (have, -1) for have, want in zip(given, wanted, strict=True))
