"""The mean of a text's token embeddings: texts of any length, one pass over all tokens of a batch."""

from typing import Any

import numpy as np
import numpy.typing as npt

from triton_backend_sdk import Model, ModelInstance, Ragged, batched, hookimpl

UNKNOWN = 0
Floats = npt.NDArray[np.float32]


@hookimpl
def model_initialize(model: Model) -> None:
    size = model.parameters.get_int("vocabulary", 1000)
    width = model.outputs[0].dims[0]
    # Where a real model loads its weights from model.version_directory.
    model.state.table = np.random.default_rng(0).standard_normal((size, width), np.float32)


@hookimpl
@batched(ragged=["TOKENS"])
def execute(instance: ModelInstance, inputs: dict[str, Ragged]) -> dict[str, npt.NDArray[Any]]:
    # The tokens of all texts lie in one array, and no time goes into padding.
    tokens = inputs["TOKENS"]
    means = embed(instance.model.state.table, tokens)
    return {"EMBEDDING": means, "BATCH_TOKENS": np.full((len(tokens), 1), tokens.values.size, np.int32)}


def embed(table: Floats, tokens: Ragged) -> Floats:
    """Give the mean embedding of each row, shape (rows, width); of an empty one that is zero."""
    known = (tokens.values >= 0) & (tokens.values < len(table))
    vectors = table[np.where(known, tokens.values, UNKNOWN)]
    sums = np.zeros((len(tokens), table.shape[1]), np.float32)
    np.add.at(sums, tokens.row_ids, vectors)
    means: Floats = sums / np.maximum(tokens.lengths, 1).astype(np.float32)[:, None]
    return means
