"""Ask a running server for right answers: what answers wrongly is not measured."""

from __future__ import annotations

from typing import Any

import numpy as np
from tritonclient import grpc  # type: ignore[import-untyped]

from benchmarks.rows import MODELS, Model, Peer
from triton_backend_sdk.tools.errors import HandledError

_LIMIT_S = 60.0


def check_answers(url: str, peer: Peer) -> None:
    """Send each model a random tensor and demand it back; the batching model gets several rows at once.

    :raises HandledError: an answer differs from its question (the stock backend's are empty under NumPy 2).
    """
    with grpc.InferenceServerClient(url) as client:
        for model in MODELS:
            sent = _tensor(model)
            datatype = "BYTES" if model.datatype == "STRING" else model.datatype
            question = grpc.InferInput("IN", sent.shape, datatype)
            question.set_data_from_numpy(sent)
            answer = client.infer(model.name, [question], client_timeout=_LIMIT_S).as_numpy("OUT")
            if answer is None or answer.shape != sent.shape or not np.array_equal(answer, sent):
                got = "nothing" if answer is None else f"shape {answer.shape}"
                raise HandledError(
                    f"{peer.label} answers model {model.name!r} wrongly: sent shape {sent.shape}, got {got}",
                    "wrong answers are not measured; benchmarks/README.md says what each backend needs",
                )


def _tensor(model: Model) -> np.ndarray[Any, Any]:
    shape = (3, model.elements) if model.max_batch_size else (model.elements,)
    values = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    if model.datatype == "STRING":
        return np.array([str(value).encode() for value in values.ravel()], dtype=object).reshape(shape)
    return values
