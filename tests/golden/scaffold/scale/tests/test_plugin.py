"""The backend twice: its hooks alone, and inside the real Triton, which is loaded into pytest's own process.

A breakpoint in plugin.py stops in both. The fixtures come with triton-backend-sdk.
"""

import numpy as np
import pytest

from triton_backend_sdk import InvalidArgError


def test_a_batch_is_scaled(fake_host):
    host = fake_host("scale.plugin")

    first, second = host.execute([{"IN": np.float32([[1, 2, 3]])}, {"IN": np.float32([[4]])}])

    np.testing.assert_array_equal(first["OUT"], [[2, 4, 6]])
    np.testing.assert_array_equal(second["OUT"], [[8]])


def test_a_scale_that_is_no_number(fake_host):
    config = {"parameters": {"scale": {"string_value": "big"}}}

    with pytest.raises(InvalidArgError, match="must be a number"):
        fake_host("scale.plugin", config)


def test_in_the_real_triton(triton_core):
    core = triton_core()

    result = core.infer("scale", {"IN": np.float32([[1, 2, 3]])})

    np.testing.assert_array_equal(result["OUT"], [[2, 4, 6]])
