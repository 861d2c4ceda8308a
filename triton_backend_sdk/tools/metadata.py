"""A model as its clients see it: names, datatypes and shapes, from the server's metadata and config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from triton_backend_sdk.dtypes import DataType


@dataclass(frozen=True)
class TensorSpec:
    """An input or an output of a model."""

    name: str
    datatype: DataType
    #: With the batch dimension where the model batches; -1 is any size.
    shape: tuple[int, ...]
    #: A request may leave it out.
    optional: bool = False

    def __str__(self) -> str:
        return f"{self.datatype.value} {list(self.shape)}"


@dataclass(frozen=True)
class ModelMetadata:
    """What a client must know to call a model."""

    name: str
    versions: tuple[str, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    #: 0: the model does not batch.
    max_batch_size: int
    #: A request gets any number of responses.
    decoupled: bool = False
    #: A request belongs to a sequence, whose id its client has to give.
    sequences: bool = False

    @classmethod
    def of(cls, metadata: Mapping[str, Any], config: Mapping[str, Any]) -> ModelMetadata:
        """Read the JSON of ``/v2/models/M`` and ``/v2/models/M/config``; gRPC's has the same keys."""
        optional = {row["name"] for row in config.get("input", ()) if row.get("optional")}
        return cls(
            name=metadata["name"],
            versions=tuple(metadata.get("versions", ())),
            inputs=tuple(_spec(row, optional) for row in metadata.get("inputs", ())),
            outputs=tuple(_spec(row, optional) for row in metadata.get("outputs", ())),
            max_batch_size=int(config.get("max_batch_size", 0)),
            decoupled=bool(config.get("model_transaction_policy", {}).get("decoupled")),
            sequences=not config.get("sequence_batching", {"iterative_sequence": True}).get(
                "iterative_sequence"
            ),
        )


def _spec(row: Mapping[str, Any], optional: set[str]) -> TensorSpec:
    # gRPC's JSON writes 64-bit integers as strings.
    shape = tuple(int(size) for size in row.get("shape", ()))
    return TensorSpec(row["name"], DataType.of(row["datatype"]), shape, row["name"] in optional)
