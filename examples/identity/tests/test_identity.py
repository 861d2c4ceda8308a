"""What goes in comes out, and is not copied on its way into the plugin."""

import numpy as np
import pytest

from triton_backend_sdk import Response

X = np.float32([1, -2, 3.5])


def test_out_is_in(fake_host):
    [result] = fake_host("identity.plugin").execute({"IN": X})

    np.testing.assert_array_equal(result["OUT"], X)


@pytest.mark.parametrize("size", [0, 1, 4_000_000])
def test_in_the_real_triton(triton_core, size):
    x = np.arange(size, dtype=np.float32)

    result = triton_core().infer("identity", {"IN": x})

    np.testing.assert_array_equal(result["OUT"], x)


def test_the_plugin_sees_the_very_bytes_of_the_client(triton_core, monkeypatch):
    addresses = []

    def response(outputs):
        addresses.append(outputs["OUT"].numpy().ctypes.data)
        return Response(outputs)

    core = triton_core()
    monkeypatch.setattr("identity.plugin.Response", response)

    result = core.infer("identity", {"IN": X})

    assert addresses == [X.ctypes.data]
    assert result["OUT"].ctypes.data != X.ctypes.data  # the one copy, into the bytes that Triton sends
