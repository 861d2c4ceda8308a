"""Rows of many requests in one pass through the network, and the same answers as one by one."""

import numpy as np
import pytest
import train
from batched_mlp import plugin

from triton_backend_sdk import NotFoundError

X = np.float32([[-0.3, 0.4], [0.6, -0.6], [0.5, 0], [0, 0.3], [-0.5, -0.5], [0.4, 0.4]])
ARMS = [[0], [1], [2], [0], [0], [2]]
PARTS = [X[:1], X[1:3], X[3:]]


def test_the_rows_of_a_batch_return_to_their_requests(fake_host):
    host = fake_host("batched_mlp.plugin")

    together = [result["PROBABILITIES"] for result in host.execute([{"X": part} for part in PARTS])]
    alone = [host.execute({"X": part})[0]["PROBABILITIES"] for part in PARTS]

    for ours, theirs in zip(together, alone, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    np.testing.assert_allclose(np.concatenate(together).sum(axis=1), 1, rtol=1e-5)


def test_the_committed_weights_know_the_spirals(fake_host, monkeypatch):
    points, arm = train.spirals(256, np.random.default_rng(1))

    [result] = fake_host("batched_mlp.plugin").execute({"X": points})

    assert (result["ARM"][:, 0] == arm).mean() > 0.95


def test_a_version_without_weights(fake_host, tmp_path):
    with pytest.raises(NotFoundError, match=r"weights\.npz"):
        fake_host("batched_mlp.plugin", {}, directory=tmp_path)


def test_requests_that_wait_together_are_one_batch(triton_core, monkeypatch):
    rows, weights = [], []
    forward = plugin.forward

    def spy(given, x):
        weights.append(given)
        rows.append(len(x))
        return forward(given, x)

    monkeypatch.setattr(plugin, "forward", spy)
    core = triton_core()
    config = core.model_config("batched_mlp")
    config["max_batch_size"] = len(X)  # the three requests fill a batch; until then Triton waits for them
    config["dynamic_batching"]["preferred_batch_size"] = [len(X)]
    config["dynamic_batching"]["max_queue_delay_microseconds"] = 10_000_000
    core.load("batched_mlp", config)

    futures = [core.infer_async("batched_mlp", {"X": part}) for part in PARTS]
    results = [future.result(20)["PROBABILITIES"] for future in futures]

    assert rows == [len(X)]
    for part, result in zip(PARTS, results, strict=True):
        np.testing.assert_allclose(result, forward(weights[0], part), rtol=1e-5)


def test_the_instances_share_weights_that_are_loaded_once(triton_core, monkeypatch):
    models = []
    load = plugin.load_weights
    monkeypatch.setattr(plugin, "load_weights", lambda model: models.append(model.name) or load(model))

    core = triton_core()

    assert core.model_config("batched_mlp")["instance_group"][0]["count"] == 2
    assert models == ["batched_mlp"]
    assert core.infer("batched_mlp", {"X": X})["ARM"].tolist() == ARMS
