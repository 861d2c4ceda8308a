"""Two models asked at once: with functions in their place, and in the real Triton."""

from pathlib import Path

import numpy as np
import pytest
from fan_out.plugin import rudeness, shouting

from triton_backend_sdk import UnavailableError

CONFIG = Path(__file__).parent.parent / "model_repository" / "moderation" / "config.pbtxt"
TEXTS = {"TEXT": np.array([b"YOU FOOL", b"Nice day", b"a stupid idea"], object)}


def test_scores():
    assert (shouting("ABcd"), shouting("123")) == (0.5, 0.0)
    assert (rudeness("You fool, you"), rudeness("")) == (pytest.approx(1 / 3), 0.0)


def test_the_higher_score_wins(fake_host):
    models = {
        "shouting": lambda inputs: {"SCORE": np.float32([0.1, 0.9, 0.5])},
        "rudeness": lambda inputs: {"SCORE": np.float32([0.3, 0.2, 0.5])},
    }
    host = fake_host("fan_out.plugin", CONFIG, models=models)

    [result] = host.execute(TEXTS)

    np.testing.assert_array_equal(result["SCORE"], np.float32([0.3, 0.9, 0.5]))
    assert result["REASON"].tolist() == [b"rudeness", b"shouting", b"shouting"]
    assert [call.model for call in host.server.calls] == ["shouting", "rudeness"]
    assert host.server.calls[0].inputs["TEXT"].tolist() == TEXTS["TEXT"].tolist()


def test_a_model_that_fails_keeps_its_code(fake_host):
    def down(inputs):
        raise UnavailableError("no GPU today")

    host = fake_host("fan_out.plugin", CONFIG, models={"shouting": down, "rudeness": down})

    with pytest.raises(UnavailableError, match="no GPU today"):
        host.execute(TEXTS)


def test_in_the_real_triton(triton_core):
    core = triton_core()

    result = core.infer("moderation", TEXTS)

    assert result["REASON"].tolist() == [b"shouting", b"shouting", b"rudeness"]
    np.testing.assert_allclose(result["SCORE"], [1, 1 / 7, 1 / 3], rtol=1e-6)
