"""Ask a running server for right answers: what answers wrongly is not measured."""

from __future__ import annotations

import queue
from typing import Any

import numpy as np
from tritonclient import grpc  # type: ignore[import-untyped]

from benchmarks.rows import Model, Peer, models
from triton_backend_sdk.tools.errors import HandledError

_LIMIT_S = 60.0


def check_answers(url: str, peer: Peer) -> None:
    """Send each model a random tensor and demand it back; the batching model gets several rows at once.

    A stream must give the right ints, in order.

    :raises HandledError: an answer differs from its question (the stock backend's are empty under NumPy 2).
    """
    with grpc.InferenceServerClient(url) as client:
        for model in models(peer, own_client=False):
            if model.work == "stream":
                _check_stream(client, model, peer)
            else:
                _check_echo(client, model, peer)


def _check_echo(client: grpc.InferenceServerClient, model: Model, peer: Peer) -> None:
    sent = _tensor(model)
    answer = client.infer(model.name, [_question(model, sent)], client_timeout=_LIMIT_S).as_numpy("OUT")
    if answer is None or answer.shape != sent.shape or not np.array_equal(answer, sent):
        raise _wrong(
            model, peer, f"sent shape {sent.shape}", "nothing" if answer is None else f"shape {answer.shape}"
        )


def _check_stream(client: grpc.InferenceServerClient, model: Model, peer: Peer) -> None:
    answers: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: answers.put(error or result.as_numpy("OUT").tolist()))
    client.async_stream_infer(model.name, [_question(model, np.array([3], np.int32))])
    try:
        got = [answers.get(timeout=_LIMIT_S) for _ in range(3)]
    except queue.Empty:
        raise _wrong(model, peer, "asked for 3 answers", "fewer") from None
    finally:
        client.stop_stream()
    if got != [[0], [1], [2]]:
        raise _wrong(model, peer, "asked for 0, 1, 2", str(got))


def _question(model: Model, sent: np.ndarray[Any, Any]) -> grpc.InferInput:
    question = grpc.InferInput("IN", sent.shape, "BYTES" if model.datatype == "STRING" else model.datatype)
    question.set_data_from_numpy(sent)
    return question


def _wrong(model: Model, peer: Peer, asked: str, got: str) -> HandledError:
    return HandledError(
        f"{peer.label} answers model {model.name!r} wrongly: {asked}, got {got}",
        "wrong answers are not measured; benchmarks/README.md says what each backend needs",
    )


def _tensor(model: Model) -> np.ndarray[Any, Any]:
    shape = (3, model.elements) if model.max_batch_size else (model.elements,)
    values = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    if model.datatype == "STRING":
        return np.array([str(value).encode() for value in values.ravel()], dtype=object).reshape(shape)
    return values
