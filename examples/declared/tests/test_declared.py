"""Likely classes; and configs that say what the code says."""

from pathlib import Path

import numpy as np
import pytest

from triton_backend_sdk import InvalidArgError
from triton_backend_sdk.cli import run

MODELS = Path(__file__).parents[1] / "model_repository"
LOGITS = np.float32([[0, 2, 1, -1], [1000, 0, 0, 999]])


def test_the_likeliest_come_first(fake_host):
    [result] = fake_host("declared.plugin", MODELS / "declared" / "config.pbtxt").execute({"LOGITS": LOGITS})

    assert result["CLASS"].tolist() == [[b"dog", b"fox", b"cat"], [b"cat", b"owl", b"dog"]]
    expected = np.exp([2, 1, 0]) / np.exp([0, 2, 1, -1]).sum()
    np.testing.assert_allclose(result["PROBABILITY"][0], expected, rtol=1e-6)


@pytest.mark.parametrize(("name", "value"), [("k", "5"), ("k", "three"), ("temperature", "0")])
def test_a_parameter_that_will_not_do(fake_host, name, value):
    with pytest.raises(InvalidArgError, match=name):
        fake_host(
            "declared.plugin", {"parameters": {name: {"string_value": value}}}, directory=MODELS / "declared"
        )


@pytest.mark.parametrize("model", ["declared", "declared_best"])
def test_the_configs_are_up_to_date(model):
    assert run(["config", str(MODELS), "--model", model, "--check"]) == 0


def test_in_the_real_triton(triton_core):
    core = triton_core()

    assert core.infer("declared", {"LOGITS": LOGITS})["CLASS"].shape == (2, 3)
    assert core.infer("declared_best", {"LOGITS": LOGITS})["CLASS"].tolist() == [[b"dog"], [b"cat"]]
    with pytest.raises(InvalidArgError, match=r"Expected \[-1,4\], got \[2,3\]"):
        core.infer("declared", {"LOGITS": LOGITS[:, :3]})
