"""Train the network on points of three spiral arms, and write its weights into the model repository.

python train.py        takes some seconds and needs nothing but NumPy
"""

from pathlib import Path

import numpy as np
from batched_mlp.plugin import forward

WEIGHTS = Path(__file__).parent / "model_repository" / "batched_mlp" / "1" / "weights.npz"
HIDDEN, CLASSES, STEPS, RATE = 48, 3, 4000, 0.01


def spirals(count, rng):
    """Give points [count, 2] of three arms that wind around each other, and the arm of each."""
    arm = rng.integers(CLASSES, size=count)
    radius = rng.uniform(0.05, 1, count)
    angle = arm * 2 * np.pi / CLASSES + 4 * radius + rng.normal(0, 0.08, count)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return points.astype(np.float32), arm


def train(rng):
    """Give weights fitted with Adam."""
    x, arm = spirals(1500, rng)
    wanted = np.eye(CLASSES, dtype=np.float32)[arm]
    shapes = {"w1": (2, HIDDEN), "b1": (HIDDEN,), "w2": (HIDDEN, CLASSES), "b2": (CLASSES,)}
    weights = {name: rng.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes.items()}
    mean, square = ({name: np.zeros_like(w) for name, w in weights.items()} for _ in range(2))
    for step in range(1, STEPS + 1):
        for name, gradient in gradients(weights, x, wanted).items():
            mean[name] += 0.1 * (gradient - mean[name])
            square[name] += 0.001 * (gradient**2 - square[name])
            correction = np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
            weights[name] -= RATE * correction * mean[name] / (np.sqrt(square[name]) + 1e-8)
    return weights


def gradients(weights, x, wanted):
    """Give the gradient of the mean cross-entropy."""
    hidden = np.tanh(x @ weights["w1"] + weights["b1"])
    scores = (forward(weights, x) - wanted) / len(x)
    back = (scores @ weights["w2"].T) * (1 - hidden**2)
    return {"w1": x.T @ back, "b1": back.sum(0), "w2": hidden.T @ scores, "b2": scores.sum(0)}


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    weights = train(rng)
    points, arm = spirals(2000, rng)
    accuracy = (forward(weights, points).argmax(1) == arm).mean()
    np.savez(WEIGHTS, **weights)
    print(f"{accuracy:.1%} of 2000 new points are right; wrote {WEIGHTS}")
