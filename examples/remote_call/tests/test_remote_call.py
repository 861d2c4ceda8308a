"""Many requests at once, and what a service can do wrong."""

import http.client
import json
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from service import Handler, Service

from triton_backend_sdk import NotFoundError, UnavailableError

ROOT = Path(__file__).parent.parent
CONFIG = (ROOT / "model_repository" / "remote_call" / "config.pbtxt").read_text()


@pytest.fixture
def service():
    with Service(("127.0.0.1", 0), Handler) as service:
        threading.Thread(target=service.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{service.server_port}"
        service.shutdown()


def config(address, seconds="5"):
    text = CONFIG.replace("127.0.0.1:8090", address)
    return re.sub(r'(key: "seconds"\s+value { string_value: )"5"', rf'\1"{seconds}"', text)


def ask(*places):
    return {"PLACE": np.array(places, dtype=object)}


def test_a_request(fake_host, service):
    [result] = fake_host("remote_call.plugin", config(service)).execute(ask("Oslo", "São Paulo"))
    assert result["CELSIUS"].tolist() == [-4.5, 24.5]


def test_many_at_once(fake_host, service):
    host = fake_host("remote_call.plugin", config(service))
    start = time.monotonic()
    results = host.execute([ask("Rome")] * 60)
    assert [result["CELSIUS"].tolist() for result in results] == [[14.0]] * 60
    assert time.monotonic() - start < 3  # one after another it would be 6 s


def test_one_place_that_is_not_known_fails_its_request_alone(fake_host, service):
    host = fake_host("remote_call.plugin", config(service))
    wrong, good = host.execute([ask("Oslo", "Atlantis"), ask("Oslo")], errors="return")
    assert isinstance(wrong, NotFoundError)
    assert str(wrong) == "the service knows no place 'Atlantis'"
    assert good["CELSIUS"].tolist() == [-4.5]


def test_a_service_that_is_too_slow(fake_host):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        host = fake_host("remote_call.plugin", config(address, "0.1"))
        with pytest.raises(UnavailableError, match=rf"{address} did not answer within 0\.1 s"):
            host.execute(ask("Oslo"))
        host = fake_host("remote_call.plugin", config(address))
        with pytest.raises(UnavailableError, match=r"did not answer within 0\.0"):
            host.execute(host.request(ask("Oslo"), timeout_us=50_000))


def test_no_service(fake_host):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    with pytest.raises(UnavailableError, match=f"{address} cannot be reached"):
        fake_host("remote_call.plugin", config(address)).execute(ask("Oslo"))


def test_a_client_that_goes_away_ends_its_call(triton_core):
    core = triton_core(models=[])
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        settings = {"service": address, "seconds": "60"}
        parameters = {key: {"string_value": value} for key, value in settings.items()}
        tensors = {"input": [("PLACE", "TYPE_STRING")], "output": [("CELSIUS", "TYPE_FP32")]}
        rows = {k: [{"name": n, "data_type": t, "dims": [-1]} for n, t in v] for k, v in tensors.items()}
        core.load("remote_call", {"backend": "remote_call", "parameters": parameters, **rows})
        call = core.infer_async("remote_call", ask("Oslo"))
        connection, _ = silent.accept()
        call.cancel_request()
        with pytest.raises(Exception, match="the client cancelled the request"):
            call.result(10)
        connection.settimeout(10)
        while connection.recv(1000):
            pass  # what it asked, and the end of the connection
        connection.close()


def test_over_http(tritonserver, tmp_path, service):
    folder = tmp_path / "remote_call"
    (folder / "1").mkdir(parents=True)
    (folder / "config.pbtxt").write_text(config(service))
    server = tritonserver(model_repository=tmp_path)
    body = {"inputs": [{"name": "PLACE", "datatype": "BYTES", "shape": [1], "data": ["Oslo"]}]}

    def post(_):
        connection = http.client.HTTPConnection(server.http_url)
        connection.request("POST", "/v2/models/remote_call/infer", json.dumps(body))
        answer = json.loads(connection.getresponse().read())
        connection.close()
        return answer["outputs"][0]["data"]

    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(post, range(20))) == [[-4.5]] * 20
