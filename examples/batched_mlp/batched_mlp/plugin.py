"""Which of three spiral arms a point belongs to: a small neural network, run once per dynamic batch."""

from typing import Any

import numpy as np
import numpy.typing as npt

from triton_backend_sdk import Model, ModelInstance, batched, hookimpl

Arrays = dict[str, npt.NDArray[np.float32]]


@hookimpl
def model_initialize(model: Model) -> None:
    # Once per version of the model, however many instances it has; all of them use these arrays.
    model.state.weights = load_weights(model)


def load_weights(model: Model) -> Arrays:
    with np.load(model.version_directory / "weights.npz") as file:
        return {name: file[name] for name in file.files}


@hookimpl
@batched
def execute(instance: ModelInstance, inputs: Arrays) -> dict[str, npt.NDArray[Any]]:
    # X holds the rows of all requests in the batch; the rows of the result go back where they came from.
    probabilities = forward(instance.model.state.weights, inputs["X"])
    return {"ARM": probabilities.argmax(axis=1, keepdims=True), "PROBABILITIES": probabilities}


def forward(weights: Arrays, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Give the probability of each class: [n, 2] to [n, 3]."""
    hidden = np.tanh(x @ weights["w1"] + weights["b1"])
    scores = hidden @ weights["w2"] + weights["b2"]
    exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
    probabilities: npt.NDArray[np.float32] = exponentials / exponentials.sum(axis=1, keepdims=True)
    return probabilities
