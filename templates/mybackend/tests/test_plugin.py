"""The backend twice: its hooks alone, and inside the real Triton, loaded into this process.

A breakpoint in plugin.py stops in both.
"""

from pathlib import Path

import numpy as np

PROJECT = Path(__file__).parents[1]
CONFIG = PROJECT / "model_repository" / "mybackend" / "config.pbtxt"


def test_execute_scales_each_request_of_a_batch(fake_host):
    host = fake_host("mybackend.plugin", config=CONFIG)

    first, second = host.execute([{"IN": np.float32([[1, 2, 3]])}, {"IN": np.float32([[4]])}])

    np.testing.assert_array_equal(first["OUT"], [[2, 4, 6]])
    np.testing.assert_array_equal(second["OUT"], [[8]])


def test_scale_is_a_parameter_of_the_model(fake_host):
    config = CONFIG.read_text().replace("2.0", "-1.5")

    [result] = fake_host("mybackend.plugin", config=config).execute([{"IN": np.float32([[2]])}])

    np.testing.assert_array_equal(result["OUT"], [[-3]])


def test_in_the_real_triton(triton_core):
    core = triton_core(PROJECT)

    result = core.infer("mybackend", {"IN": np.float32([[1, 2, 3]])})

    np.testing.assert_array_equal(result["OUT"], [[2, 4, 6]])
