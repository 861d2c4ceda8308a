"""The parts of a Runner that need no server."""

from __future__ import annotations

import errno
import json
import select
import socket
import subprocess
import sys
import threading

import numpy as np
import pytest

from triton_backend_sdk.dtypes import DataType
from triton_backend_sdk.errors import NotFoundError, UnavailableError, UnsupportedError
from triton_backend_sdk.runner import ServerEndedError, ServerLostError, errors, metrics
from triton_backend_sdk.runner.arguments import request_parameters
from triton_backend_sdk.runner.arrays import as_array
from triton_backend_sdk.runner.binding import Signature
from triton_backend_sdk.runner.http_connections import Connections, Exchange
from triton_backend_sdk.runner.messages import InputTensor
from triton_backend_sdk.runner.result import OutputTensor, Result
from triton_backend_sdk.runner.settings import (
    choose_protocol,
    repositories,
    server_options,
)
from triton_backend_sdk.tools.errors import HandledError


def tell(value):
    return value.dtype.name, value.tolist()


@pytest.mark.parametrize(
    ("value", "datatype", "cast", "expected"),
    [
        (np.int16([1]), DataType.INT32, "safe", ("int32", [1])),
        (np.float32([1]), DataType.FP64, "safe", ("float64", [1])),
        (np.float64([1.5]), DataType.FP16, "same_kind", ("float16", [1.5])),
        (np.float64([1.5]), DataType.INT8, "unsafe", ("int8", [1])),
        (np.float32(2), DataType.FP32, "safe", ("float32", 2)),
        ([[1, 2]], DataType.UINT8, "safe", ("uint8", [[1, 2]])),
        ([1, 2], DataType.FP32, "safe", ("float32", [1, 2])),
        ([True], DataType.BOOL, "safe", ("bool", [True])),
        ([True, False], DataType.INT32, "safe", ("int32", [1, 0])),
        (3, DataType.INT64, "safe", ("int64", 3)),
        ([], DataType.INT64, "safe", ("int64", [])),
        ([2**63], DataType.UINT64, "safe", ("uint64", [2**63])),
        (["a", b"b"], DataType.BYTES, "safe", ("object", ["a", b"b"])),
        (b"x", DataType.BYTES, "safe", ("object", b"x")),
        (bytearray(b"x"), DataType.BYTES, "safe", ("object", b"x")),
        (memoryview(np.float32([1])), DataType.FP32, "safe", ("float32", [1])),
    ],
)
def test_what_becomes_an_array(value, datatype, cast, expected):
    assert tell(as_array(value, datatype, cast)) == expected


@pytest.mark.parametrize(
    ("value", "datatype", "error", "words"),
    [
        (
            np.int64([1]),
            DataType.INT32,
            TypeError,
            r'got int64, the model wants INT32 \(int32\): cast="same_kind"',
        ),
        (np.float32([1]), DataType.INT32, TypeError, 'cast="unsafe" would convert'),
        (np.array(["a"]), DataType.FP32, TypeError, "texts or objects"),
        ([1.5], DataType.INT32, TypeError, "got fractions, the model wants INT32"),
        ([1], DataType.BOOL, TypeError, "got whole numbers, the model wants BOOL"),
        ([300], DataType.UINT8, ValueError, "300 to 300 is out of UINT8's range"),
        ([-1], DataType.UINT64, ValueError, "out of UINT64's range"),
        ([1e6], DataType.FP16, ValueError, "out of FP16's range"),
        ([2**70], DataType.INT64, (TypeError, ValueError), "INT64|too large"),
        ([[1], [1, 2]], DataType.FP32, ValueError, "rows of different lengths"),
        ({"a": 1}, DataType.FP32, TypeError, "got dict"),
        (None, DataType.FP32, TypeError, "NoneType"),
        ([None], DataType.BYTES, TypeError, "element of type NoneType"),
    ],
)
def test_what_does_not(value, datatype, error, words):
    with pytest.raises(error, match=words):
        as_array(value, datatype, "safe")


def test_an_array_that_fits_is_not_copied():
    array = np.zeros(3, np.float32)
    assert as_array(array, DataType.FP32, "safe") is array
    tensor = InputTensor("IN", "FP32", array.shape, array)
    assert np.shares_memory(tensor.flat(), array)


def test_a_tensor_that_cannot_be_read():
    class Broken:
        def __dlpack__(self, **given):
            raise RuntimeError("it has a gradient")

        def __dlpack_device__(self):
            return 1, 0

    with pytest.raises(TypeError, match="this Broken cannot be read as an array: it has a gradient"):
        as_array(Broken(), DataType.FP32, "safe")


def test_torch_tensors():
    torch = pytest.importorskip("torch")
    assert as_array(torch.ones(2), DataType.FP32, "safe").tolist() == [1, 1]


def test_bf16_by_its_own_type():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    given = np.array([1.5], ml_dtypes.bfloat16)
    assert as_array(given, DataType.BF16, "safe") is given
    assert as_array([1.5], DataType.BF16, "safe").dtype == ml_dtypes.bfloat16


def test_shape_tensors_have_no_batch_dimension():
    row = {"name": "S", "datatype": "INT32", "shape": [-1, 2]}
    config = {"max_batch_size": 4, "input": [{"name": "S", "is_shape_tensor": True}]}
    signature = Signature({"name": "m", "inputs": [row], "outputs": []}, config)
    assert signature.bind([[1, 2]], {})[0].shape == (2,)
    assert str(signature) == "m(S: INT32 [-1, 2]) -> nothing"


def test_parameters_of_a_request():
    said = request_parameters("seven", True, False, 3, 9, {"a": 1})
    assert said == {
        "a": 1, "sequence_id": "seven", "sequence_start": True, "sequence_end": False, "priority": 3, "timeout": 9,
    }  # fmt: skip
    for name in ("timeout", "triton_enable_empty_final_response"):
        with pytest.raises(ValueError, match=f"'{name}' is the protocol's own"):
            request_parameters(parameters={name: 1})
    with pytest.raises(ValueError, match="no str, bool, int or float"):
        request_parameters(parameters={"a": [1]})


def test_results_from_json_and_from_bytes():
    tensors = {
        "A": OutputTensor("A", "INT32", (2,), [1, 2]),
        "B": OutputTensor("B", "BYTES", (1, 2), ["a", "é"]),
        "C": OutputTensor("C", "BYTES", (1,), b"\x01\x00\x00\x00\xff"),
        "D": OutputTensor("D", "FP32", (1,), None, {"shared_memory_region": "mine"}),
    }
    result = Result("m", "1", "", tensors, {"k": 1})
    assert tell(result["A"]) == ("int32", [1, 2])
    assert result["B"].tolist() == [[b"a", "é".encode()]]
    assert result["C"].tolist() == [b"\xff"]
    with pytest.raises(NotFoundError, match=r"'D' was written to shared memory \(mine\)"):
        _ = result["D"]
    document = result.get_response(as_json=True)
    assert json.loads(json.dumps(document)) == document
    assert [row.get("data") for row in document["outputs"]] == [[1, 2], ["a", "é"], ["\\xff"], None]
    assert repr(result).startswith("<Result of m version 1: A: INT32 [2], B: BYTES [1, 2]")


TEXT = """# HELP nv_inference_count Number
# TYPE nv_inference_count counter
nv_inference_count{model="a",version="1"} 3
nv_inference_count{model="b \\"x\\"\\\\y",version="1"} 4.5 1395066363000
nv_cpu_utilization 1e-3
nv_bad NaN
"""


def test_metrics():
    found = metrics.parse(TEXT, "mine")
    assert len(found) == 4
    assert found[0] == metrics.Sample(
        "nv_inference_count", {"model": "a", "version": "1", "runner": "mine"}, 3
    )
    assert found.value("nv_inference_count") == 7.5
    assert found.value("nv_inference_count", model='b "x"\\y') == 4.5
    assert found.value("nv_cpu_utilization") == 0.001
    with pytest.raises(KeyError, match="'nv_inference_count' with"):
        found.value("nv_inference_count", model="c")


@pytest.mark.parametrize(
    ("status", "message", "expected"),
    [
        ("NOT_FOUND", "x", NotFoundError),
        ("UNIMPLEMENTED", "x", UnsupportedError),
        ("UNAVAILABLE", "model is not ready", UnavailableError),
        ("UNAVAILABLE", "failed to connect to all addresses", ServerLostError),
        ("UNAVAILABLE", "Socket closed", ServerLostError),
        ("DEADLINE_EXCEEDED", "x", TimeoutError),
    ],
)
def test_grpc_statuses(status, message, expected):
    assert type(errors.of_grpc(status, message)) is expected


def test_errors_that_others_catch_too():
    error = ServerEndedError("it ended", -9, ["one", "two"])
    assert isinstance(error, (ConnectionError, UnavailableError))
    assert str(error) == "it ended; its last lines:\n  one\n  two"
    given = HandledError("it did not", "mend it", details=["because"])
    assert str(errors.start_error(given)) == "it did not (mend it)\n  because"


def test_addresses(monkeypatch):
    monkeypatch.delenv("TBSDK_RUNNER_PROTOCOL", raising=False)
    monkeypatch.delenv("BENTOML_USE_HTTP_TRITONSERVER", raising=False)
    assert choose_protocol(None, "grpc://host:1") == ("grpc", "host:1")
    assert choose_protocol(None, "https://host:1/") == ("http", "host:1")
    assert choose_protocol(None, "host:1") == ("grpc", "host:1")
    assert choose_protocol("http", "host:1") == ("http", "host:1")
    with pytest.raises(ValueError, match="protocol must be 'grpc' or 'http', not 'tcp'"):
        choose_protocol("tcp")


def test_repositories(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert repositories("models") == [str(tmp_path / "models")]
    assert repositories(["s3://bucket/path", tmp_path]) == ["s3://bucket/path", str(tmp_path)]
    with pytest.raises(ValueError, match="needs a model repository, or a url"):
        repositories([])


def test_later_options_win():
    found = server_options({"log-verbose": 1}, ["--log-verbose=2"], ["log_verbose:3"], {"log_verbose": 4})
    assert found.given() == {"log_verbose": 4}
    assert server_options({"log_verbose": 1}, ["--log-verbose=2"], ["log_verbose:3"], {}).log_verbose == 3


def test_an_idle_connection_that_the_server_closed_is_not_used():
    asked = []

    def serve(listener):
        for _ in range(2):  # one request a connection
            connection, _ = listener.accept()
            with connection:
                asked.append(connection.recv(4096))
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        connections = Connections(f"127.0.0.1:{listener.getsockname()[1]}")
        for _ in range(2):
            with connections.request("GET", "v2", {}, [], Exchange(5)) as response:
                assert response.read() == b"ok"
            if not asked[1:]:
                select.select([connections._idle[0].sock], [], [], 5)  # its end has come
        thread.join()
        connections.close()
    assert len(asked) == 2


def test_a_connection_that_the_system_gives_up_is_a_lost_server(monkeypatch):
    def connect(*given, **more):
        raise TimeoutError(errno.ETIMEDOUT, "Connection timed out")

    monkeypatch.setattr(socket, "create_connection", connect)
    connections = Connections("127.0.0.1:1")
    with (
        pytest.raises(ServerLostError, match=r"no answer from 127\.0\.0\.1:1: Connection timed out"),
        connections.request("GET", "v2", {}, [], Exchange(None)),
    ):
        pass


def test_importing_it_is_cheap():
    program = (
        "import sys; import triton_backend_sdk.runner\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('tritonclient', 'grpc', 'cffi', 'gevent', 'click')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
