"""The logits of a classifier become the names of its most likely classes, with probabilities."""

from pathlib import Path

import numpy as np

from triton_backend_sdk import (
    DynamicBatching,
    InstanceGroup,
    InvalidArgError,
    Model,
    ModelConfig,
    ModelInstance,
    Parameter,
    Request,
    Response,
    Signature,
    TensorSpec,
    hookimpl,
)

K = Parameter("k", int, 3, "How many classes an answer names, the likeliest first.")
TEMPERATURE = Parameter(
    "temperature", float, 1.0, "Above 1 the probabilities become more equal, below 1 less."
)

SIGNATURE = Signature(
    inputs=[TensorSpec("LOGITS", "FP32", [-1])],
    outputs=[TensorSpec("CLASS", "BYTES", [-1]), TensorSpec("PROBABILITY", "FP32", [-1])],
    max_batch_size=64,
    dynamic_batching=DynamicBatching(),
    parameters=[K, TEMPERATURE],
    instance_groups=[InstanceGroup("cpu")],
)


@hookimpl
def auto_complete_config(model: Model, config: ModelConfig) -> None:
    # How many logits a model takes only its labels tell. Triton then refuses any other number.
    config.add_input(TensorSpec("LOGITS", "FP32", [len(read_labels(model.directory))]))


@hookimpl
def model_initialize(model: Model) -> None:
    labels = read_labels(model.directory)
    k, temperature = model.parameters.read(K), model.parameters.read(TEMPERATURE)
    if not 1 <= k <= len(labels):
        raise InvalidArgError(f"k is {k}; it must be 1 to {len(labels)}, the number of labels")
    if temperature <= 0:
        raise InvalidArgError(f"temperature is {temperature}; it must be above 0")
    model.state.labels, model.state.k, model.state.temperature = np.array(labels, object), k, temperature


@hookimpl
def execute(instance: ModelInstance, requests: list[Request]) -> list[Response]:
    state = instance.model.state
    return [
        answer(request["LOGITS"].numpy() / state.temperature, state.labels, state.k) for request in requests
    ]


def answer(logits: np.ndarray, labels: np.ndarray, k: int) -> Response:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))  # the largest becomes 1: no overflow
    probabilities = powers / powers.sum(axis=1, keepdims=True)
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :k]
    return Response({"CLASS": labels[best], "PROBABILITY": np.take_along_axis(probabilities, best, axis=1)})


def read_labels(directory: Path) -> list[str]:
    return (directory / "labels.txt").read_text(encoding="utf-8").split()
