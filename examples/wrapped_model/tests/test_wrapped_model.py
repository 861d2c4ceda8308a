"""The class does what it did in Triton's Python backend, and the plugin counts."""

import numpy as np
import pytest

from triton_backend_sdk import InvalidArgError

READING = np.float32([[20, 21], [19.5, 20.25]])
SCORE = [[0, 2], [-1, 0.5]]


def test_scores(fake_host):
    host = fake_host("wrapped_model.plugin")

    [result] = host.execute({"READING": READING})

    assert result["SCORE"].tolist() == SCORE
    assert host.metrics.series("standardized_rows_total", {}).number == 2


def test_a_request_that_fails_alone(fake_host):
    good, bad = fake_host("wrapped_model.plugin").execute(
        [{"READING": READING}, {"READING": READING * np.nan}], errors="return"
    )

    assert good["SCORE"].tolist() == SCORE
    assert isinstance(bad, InvalidArgError)
    assert str(bad) == "READING has gaps (NaN)"


def test_in_the_real_triton(triton_core):
    core = triton_core(metrics=True)

    assert core.infer("wrapped_model", {"READING": READING})["SCORE"].tolist() == SCORE
    with pytest.raises(InvalidArgError, match=r"READING has gaps"):
        core.infer("wrapped_model", {"READING": READING * np.nan})
    assert "standardized_rows_total" in core.metrics_text()
