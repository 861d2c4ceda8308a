"""The host itself, against a backend in C that has no interpreter to blame."""

import subprocess
import sys

import numpy as np
import pytest

from triton_backend_sdk.errors import InternalError, InvalidArgError, NotFoundError, UnavailableError
from triton_backend_sdk.testing import Raw, TritonCore
from triton_backend_sdk.testing.core_api import open_core
from triton_backend_sdk.testing.wire import from_wire, to_wire


def test_infer_returns_arrays_id_and_parameters(core):
    x = np.arange(4, dtype=np.float32)

    response = core.infer("echo", {"IN": x}, request_id="seven")

    np.testing.assert_array_equal(response["OUT"], x)
    assert (response.id, response.model, response.version) == ("seven", "echo", 1)
    assert response.parameters == {"buffers": 1}
    assert list(response) == ["OUT"]


def test_a_list_of_arrays_arrives_as_several_buffers(core):
    response = core.infer("echo", {"IN": [np.float32([1]), np.float32([2, 3])]})

    assert response.parameters == {"buffers": 2}
    np.testing.assert_array_equal(response["OUT"], [1, 2, 3])


def test_raw_bytes_may_be_split_within_an_element(core):
    data = np.float32([1, 2]).tobytes()

    response = core.infer("echo", {"IN": Raw([data[:3], data[3:]], "FP32", [2])})

    assert response.parameters == {"buffers": 2}
    np.testing.assert_array_equal(response["OUT"], [1, 2])


def test_an_empty_tensor_goes_through(core):
    assert core.infer("echo", {"IN": np.empty(0, np.float32)})["OUT"].shape == (0,)


def test_strings_go_through(core):
    core.load("strings")

    for value in (["a", "", "ü"], np.array(["a", "", "ü"]), np.array([b"a", b"", "ü".encode()], object)):
        response = core.infer("strings", {"IN": value})
        assert response["OUT"].tolist() == [b"a", b"", "ü".encode()]


def test_requests_are_in_flight_together(core):
    futures = [core.infer_async("echo", {"IN": np.float32([i])}) for i in range(8)]

    assert [future.result(10)["OUT"][0] for future in futures] == list(range(8))


def test_errors_have_the_class_of_their_code(core):
    x = np.float32([1])
    for call, error, message in (
        (lambda: core.infer("nobody", {"IN": x}), NotFoundError, "unknown model"),
        (lambda: core.infer("echo", {"IN": x.astype(np.int32)}), InvalidArgError, "'INT32'"),
        (lambda: core.infer("echo", {"WRONG": x}), InvalidArgError, "unexpected inference input"),
        (lambda: core.infer("echo", {"IN": Raw(b"123", "FP32", [4])}), InvalidArgError, "Expected 16, got 3"),
        (lambda: core.infer("echo", {"IN": x}, outputs=["WRONG"]), InvalidArgError, "inference output"),
        (lambda: core.infer("echo", {"IN": x}, parameters={"k": None}), InvalidArgError, "parameter 'k'"),
        (lambda: core.load("nobody"), InternalError, "failed to load 'nobody'"),
    ):
        with pytest.raises(error, match=message):
            call()
    assert core.wait_released()


def test_nothing_is_left_alive_after_many_requests(core):
    x = np.zeros(16, np.float32)
    for _ in range(200):
        core.infer("echo", {"IN": x})

    assert core.wait_released()
    assert core.live_objects() == dict.fromkeys(["requests", "answers", "responses", "buffers", "traces"], 0)
    assert not core._inferencer._open


def test_an_output_outlives_the_core(echo):
    backends, models = echo
    with TritonCore(models, backends) as core:
        core.load("echo")
        out = core.infer("echo", {"IN": np.float32([1, 2])})["OUT"]

    np.testing.assert_array_equal(out, [1, 2])


def test_load_unload_and_the_index(core):
    assert core.is_ready("echo")
    assert core.metadata("echo")["platform"] == "echo"
    core.unload("echo")
    assert not core.is_ready("echo")
    assert [entry["state"] for entry in core.index() if entry["name"] == "echo"] == ["UNAVAILABLE"]
    core.load("echo")
    assert core.is_ready("echo")
    assert core.statistics("echo")["name"] == "echo"


def test_load_with_a_config_of_the_test(core):
    config = core.model_config("echo")
    core.load("echo", config={**config, "parameters": {"k": {"string_value": "v"}}})

    assert core.model_config("echo")["parameters"] == {"k": {"string_value": "v"}}


def test_the_log_can_be_read(core):
    assert "loading: echo:1" in core.log_text()


def test_two_cores_live_side_by_side(echo):
    backends, models = echo
    with TritonCore(models, backends) as one, TritonCore([models], backends) as two:
        for core in (one, two):
            core.load("echo")
            assert core.infer("echo", {"IN": np.float32([1])})["OUT"] == 1


def test_a_closed_core_says_so(echo):
    backends, models = echo
    core = TritonCore(models, backends)
    core.close()
    core.close()

    with pytest.raises(InvalidArgError, match="closed"):
        core.load("echo")


def test_a_script_that_forgets_to_close_ends(echo):
    backends, models = echo
    script = (
        "import numpy, triton_backend_sdk.testing as t;"
        f"core = t.TritonCore({str(models)!r}, {str(backends)!r}); core.load('echo');"
        "print(core.infer('echo', {'IN': numpy.float32([5])})['OUT'])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=30, check=True)

    assert done.stdout == b"[5.]\n"


def test_a_library_that_does_not_open_is_named(tmp_path):
    broken = tmp_path / "libtritonserver.so"
    broken.write_bytes(b"no library")

    with pytest.raises(UnavailableError, match=f"cannot open Triton's core.*{broken}"):
        open_core(broken)


@pytest.mark.parametrize(
    "dtype", ["bool", "uint8", "int16", "uint32", "int64", "float16", "float32", "float64"]
)
def test_wire_keeps_arrays(dtype):
    array = np.arange(6).reshape(2, 3).astype(dtype)
    wire = to_wire(array[:, ::-1])

    [data] = wire.buffers
    np.testing.assert_array_equal(from_wire(wire.dtype, wire.shape, data), array[:, ::-1])


def test_wire_does_not_copy_a_contiguous_array():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)

    assert np.shares_memory(to_wire(array).buffers[0], array)
