"""Against a real server whose backend gives every IN... back as OUT...; see conftest.py."""

import socket
import subprocess
import sys

import numpy as np
import pytest

from triton_backend_sdk.dtypes import DataType
from triton_backend_sdk.tools import client
from triton_backend_sdk.tools.client import infer, model_metadata
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.metadata import TensorSpec
from triton_backend_sdk.tools.ports import choose_ports
from triton_backend_sdk.tools.server import TritonServer

from ..conftest import write_echo_project


@pytest.fixture(params=["http", "grpc"])
def protocol(request):
    return request.param


@pytest.fixture
def url(echo_server, protocol):
    return echo_server.http_url if protocol == "http" else echo_server.grpc_url


def test_metadata(url, protocol):
    rows = model_metadata(url, protocol, "rows")
    assert (rows.name, rows.versions, rows.max_batch_size) == ("rows", ("1",), 8)
    assert rows.inputs == (TensorSpec("IN", DataType.FP32, (-1, -1)),)
    assert rows.outputs == (TensorSpec("OUT", DataType.FP32, (-1, -1)),)
    assert model_metadata(url, protocol, "pair").max_batch_size == 0


def test_a_request_and_its_answer(url, protocol):
    given = np.arange(6, dtype=np.float32).reshape(2, 3)
    result = infer(url, protocol, "rows", {"IN": given}, request_id="mine")
    np.testing.assert_array_equal(result.outputs["OUT"], given)
    assert (result.model_name, result.model_version, result.id) == ("rows", "1", "mine")
    assert result.datatypes == {"OUT": "FP32"}
    assert 0 < result.latency_ms < 10_000


def test_every_datatype(url, protocol):
    given = {f"IN_{name.value}": np.array([0, 1], dtype=name.numpy()) for name in DataType if name != "BYTES"}
    given["IN_BYTES"] = np.array([b"", b"\xff\x00"], dtype=object)
    result = infer(url, protocol, "every", given)
    assert result.datatypes == {f"OUT_{name.value}": name.value for name in DataType}
    for name, array in given.items():
        output = result.outputs["OUT" + name[2:]]
        assert output.tolist() == array.tolist()


def test_a_non_contiguous_array(url, protocol):
    given = np.arange(12, dtype=np.float32).reshape(3, 4)[:, ::2]
    np.testing.assert_array_equal(infer(url, protocol, "rows", {"IN": given}).outputs["OUT"], given)


def test_only_the_outputs_that_are_asked_for(url, protocol):
    given = np.zeros(2, np.int32)
    result = infer(url, protocol, "pair", {"IN0": given, "IN1": given}, outputs=["OUT1"])
    assert list(result.outputs) == ["OUT1"]


def test_a_version(url, protocol):
    given = {"IN": np.zeros((1, 1), np.float32)}
    assert infer(url, protocol, "rows", given, version="1").model_version == "1"
    with pytest.raises(HandledError, match="'rows' version 7"):
        model_metadata(url, protocol, "rows", version="7")


def test_a_parameter_reaches_the_plugin_and_its_error_the_client(url, protocol):
    given = {"IN": np.zeros((1, 1), np.float32)}
    with pytest.raises(HandledError, match=r"the server answered (400|INVALID_ARGUMENT): .*asked to fail"):
        infer(url, protocol, "rows", given, parameters={"fail": True, "n": 1, "x": 1.5, "text": "t"})


def test_an_unknown_model_is_told_with_those_there_are(url, protocol):
    with pytest.raises(HandledError, match=f"no model 'none' at {url}") as caught:
        model_metadata(url, protocol, "none")
    assert caught.value.next_step == "name one that it serves: every, pair, rows, texts"


def test_a_model_that_failed_to_load_is_told_with_the_reason(tmp_path, protocol):
    project = write_echo_project(tmp_path, {"lost": ""})
    (project.model_repository / "lost" / "config.pbtxt").write_text('backend: "nope"')
    with TritonServer(project.model_repository, backend_directory=tmp_path, exit_on_error=False) as server:
        url = server.http_url if protocol == "http" else server.grpc_url
        with pytest.raises(HandledError) as caught:
            model_metadata(url, protocol, "lost")
    assert f"the model 'lost' at {url} is UNAVAILABLE: " in caught.value.message
    assert "unable to find backend library for backend 'nope'" in caught.value.message


def test_an_unknown_input_is_told_in_the_servers_words(url, protocol):
    with pytest.raises(HandledError, match="unexpected inference input 'X' for model 'rows'"):
        infer(url, protocol, "rows", {"X": np.zeros((1, 1), np.float32)})


def test_a_scheme_may_stand_before_the_address(url, protocol):
    assert model_metadata(f"{protocol}://{url}/", protocol, "rows").name == "rows"


def test_grpc_asks_no_proxy_for_this_machine(echo_server, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert model_metadata(echo_server.grpc_url, "grpc", "rows").name == "rows"


def test_no_server_is_told_with_the_url(protocol):
    url = f"127.0.0.1:{choose_ports({'http': None})['http']}"
    with pytest.raises(
        HandledError, match=f"no server answers at {url} over {protocol}: .*refused"
    ) as caught:
        model_metadata(url, protocol, "rows")
    assert "tbsdk serve" in str(caught.value.next_step)


def test_a_server_that_takes_too_long_is_not_called_absent(protocol):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(
            HandledError, match=rf"no answer from {url} over {protocol} within 0\.5 s"
        ) as caught:
            model_metadata(url, protocol, "rows", timeout=0.5)
    assert "--timeout" in str(caught.value.next_step)


def test_the_other_protocols_port_is_told(echo_server, protocol):
    url = echo_server.grpc_url if protocol == "http" else echo_server.http_url
    with pytest.raises(HandledError, match=f"no server answers at {url} over {protocol}"):
        model_metadata(url, protocol, "rows", timeout=5)


def test_a_missing_tritonclient_is_told(monkeypatch, protocol):
    monkeypatch.setitem(sys.modules, f"tritonclient.{protocol}", None)
    with pytest.raises(HandledError) as caught:
        model_metadata("127.0.0.1:1", protocol, "rows")
    assert f"tritonclient.{protocol}" in caught.value.message
    assert caught.value.next_step == "pip install 'triton-backend-sdk[client]'"


def test_importing_the_module_does_not_import_tritonclient():
    program = (
        f"import sys, {client.__name__}; print([name for name in sys.modules if 'tritonclient' in name])"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout == "[]\n"
