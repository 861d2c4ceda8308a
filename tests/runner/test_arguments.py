"""What a call says wrongly: every way to the core refuses it in the same words, before it is sent."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import shutil
import socket
import subprocess
import threading

import numpy as np
import pytest

from triton_backend_sdk.errors import InvalidArgError, NotFoundError, TritonError
from triton_backend_sdk.runner import NotSupportedError, Runner, messages
from triton_backend_sdk.runner.settings import choose_protocol

ROW = np.arange(3, dtype=np.float32)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"version": "abc"}, "version takes a whole number above 0: got 'abc'"),
        ({"version": 1.5}, "version takes a whole number, not 1.5"),
        ({"version": -1}, "version is 0 to 9223372036854775807: got -1"),
        ({"sequence_id": -5}, "sequence_id is 0 to 18446744073709551615: got -5"),
        ({"sequence_id": 2**70}, "sequence_id is 0 to"),
        ({"sequence_id": 1.5}, "sequence_id takes a whole number, not 1.5"),
        ({"priority": "1"}, "priority takes a whole number, not '1'"),
        ({"priority": -1}, "priority is 0 to"),
        ({"timeout": -1}, "timeout is 0 to 9223372036854775807: got -1"),
        ({"timeout": 0.5}, "timeout takes a whole number, not 0.5"),
        ({"client_timeout": 0}, "client_timeout takes seconds above 0, or None: got 0"),
        ({"client_timeout": -1}, "got -1"),
        ({"client_timeout": "1"}, "got '1'"),
        ({"client_timeout": math.nan}, "got nan"),
        ({"parameters": [1]}, r"parameters takes a dict, not \[1\]"),
        ({"parameters": {1: 1}}, "parameter 1: its name is no str"),
        ({"parameters": {"a": None}}, "'a': None is no str, bool, int or float"),
        ({"parameters": {"a": 2**70}}, "'a': 1180591620717411303424 is out of the range of 64 bits"),
        ({"headers": {"a b": "x"}}, "header 'a b': a name has letters"),
        ({"headers": {"a": "x\ny"}}, r"header 'a': 'x\\ny' is no text"),
        ({"headers": {"a": 1}}, "header 'a': 1 is no text"),
        ({"headers": [("a", "b")]}, "headers takes a dict, not"),
    ],
    ids=str,
)
def test_an_option_that_cannot_be(runner, options, words):
    with pytest.raises(InvalidArgError, match=words):
        runner.flat.run(ROW, **options)
    with pytest.raises(InvalidArgError, match=words):
        runner.infer(
            "flat", {"IN": ROW}, **{{"version": "model_version"}.get(k, k): v for k, v in options.items()}
        )


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"request_id": 5}, TypeError, "request_id takes a str, not 5"),
        ({"outputs": "OUT"}, TypeError, r"outputs takes a list of names: \['OUT'\]"),
        ({"outputs": [1]}, TypeError, "outputs takes names, or tritonclient's InferRequestedOutputs, not 1"),
        ({"outputs": ["nosuch"]}, ValueError, r"flat has no output 'nosuch': flat\(IN: FP32 \[-1\]\) -> OUT"),
        ({"cast": "bad"}, ValueError, "cast is one of no, safe, same_kind, unsafe, .*: got 'bad'"),
        ({"batch": "bad"}, ValueError, "batch exact or auto: got 'safe', 'bad'"),
    ],
    ids=str,
)
def test_an_option_of_another_kind(runner, options, error, words):
    with pytest.raises(error, match=words):
        runner.flat.run(ROW, **options)


@pytest.mark.parametrize("name", ["", "flat\0x", "\udc80"], ids=ascii)
def test_a_name_that_no_model_can_have(runner, name):
    for call in (lambda: runner[name], lambda: runner.infer(name, {"IN": ROW})):
        with pytest.raises(InvalidArgError, match="no model can be called"):
            call()
    with pytest.raises(TypeError, match="a model's name is a str, not 5"):
        _ = runner[5]


def test_names_that_nobody_has(runner):
    for name in ("a/b", "ä☃", "a?b#c", ".", "..", "a b"):
        with pytest.raises((NotFoundError, InvalidArgError)):
            runner[name].run(ROW)


def test_numbers_of_numpy(runner):
    said = {"a": np.int64(3), "b": np.float32(2), "c": np.bool_(True)}
    told = runner.about.run([1], parameters=said, priority=np.int32(1), timeout=np.int64(1_500_000))["TOLD"]
    found = json.loads(told[0])
    assert {key: found["parameters"][key] for key in said} == {"a": 3, "b": 2.0, "c": True}
    assert found["timeout"] == 1_500_000


@pytest.mark.parametrize("number", [np.int64(70), 2**63 + 1, "seventy"], ids=repr)
def test_ids_of_sequences(runner, number):
    ends = {"sequence_id": number, "sequence_start": True, "sequence_end": True}
    assert json.loads(runner.sequence.run([1], **ends)["TOLD"][0])["sequence"] == number


def test_an_input_called_version(runner):
    config = {**runner.get_model_config("timed"), "name": "dated"}
    config = json.loads(json.dumps(config).replace('"timeout"', '"version"').replace("OUTmeout", "OUTrsion"))
    runner.load_model("timed-by-version", {**config, "name": "timed-by-version"}, {"file:1/data": b""})
    try:
        model = runner["timed-by-version"]
        assert model.run(version=ROW)["OUTrsion"].tolist() == ROW.tolist()
        assert model.options(version=1).run(version=ROW).model_version == "1"
    finally:
        runner.unload_model("timed-by-version")


def test_arrays_that_infer_takes_as_they_are(runner):
    big = ROW.astype(">f4")
    assert runner.infer("flat", {"IN": big})["OUT"].tolist() == ROW.tolist()
    assert runner.flat.run(big)["OUT"].tolist() == ROW.tolist()
    with pytest.raises(TypeError, match="element of type int, the model wants str or bytes"):
        runner.infer("texts", {"IN": np.array([[5]], object)})
    with pytest.raises(TritonError, match="expects 'FP32'"):
        runner.infer("flat", {"IN": [1.0]})


def test_texts_with_everything_in_them(runner):
    for given in ([["a\0b"]], [[b"\0"]], [[b"\xff\xfe"]], np.array([["é"]])):
        sent = np.array(given).item() if isinstance(given, np.ndarray) else given[0][0]
        expected = sent if isinstance(sent, bytes) else sent.encode()
        assert runner.texts.run(given)["OUT"].tolist() == [[expected]]
    for wrong in ([["\udc80"]], np.array([["\udc80"]])):
        with pytest.raises(
            ValueError, match=r"input 'IN': the text '\\udc80' cannot be UTF-8 .*: give bytes"
        ):
            runner.texts.run(wrong)


def test_arrays_of_every_layout(runner):
    square = np.arange(6, dtype=np.float32).reshape(2, 3)
    for given in (
        np.asfortranarray(square),
        square[::-1],
        square[:, ::2],
        np.broadcast_to(square[0], (2, 3)),
    ):
        assert runner.rows.run(given)["OUT"].tolist() == given.tolist()
    assert runner.rows.run(np.zeros((1, 0), np.float32))["OUT"].shape == (1, 0)
    with pytest.raises(ValueError, match=r"got shape \[\], the model wants \[-1\]"):
        runner.flat.run(np.float32(3))


def test_run_of_a_decoupled_model_names_stream(runner):
    with pytest.raises(
        NotSupportedError, match=r"any number of responses: take stream\(\).*any number of times"
    ):
        runner.many.run([2])


def test_load_model_takes_bytes_and_json(runner):
    with pytest.raises(TypeError, match="the content of 'file:1/a' is bytes, not str"):
        runner.load_model("flat", config={}, files={"file:1/a": "text"})
    with pytest.raises(TritonError, match="flat"):
        runner.load_model("flat", config="{bad")


@pytest.mark.parametrize(
    "url",
    [
        "", "grpc://", "127.0.0.1", "http://127.0.0.1", "http://:8000", "http://h:abc", "grpc://h:99999", "::1:8001",
        "http://user:word@h:8000", "http://h:8000?a=b", "http://h:8000/v2", "unix:///socket", "ftp://h:1",
    ],
)  # fmt: skip
def test_urls_that_are_none(url):
    with pytest.raises(ValueError, match=r"url '.*': expected grpc://HOST:PORT or http://HOST:PORT"):
        Runner(url=url)
    with pytest.raises(TypeError, match="as a str"):
        Runner(url=b"http://h:1")


def test_more_than_a_message_carries_is_refused_before_it_is_sent(remote, in_process, monkeypatch):
    monkeypatch.setattr(messages, "_MOST_BYTES", 1000)
    words = r"the inputs have 1004 bytes, and a message carries less than 2 GiB: Runner\(shared_memory=True\)"
    with pytest.raises(InvalidArgError, match=words):
        remote.flat.run(np.zeros(251, np.float32))
    assert remote.flat.run(np.zeros(250, np.float32))["OUT"].size == 250
    assert in_process.flat.run(np.zeros(251, np.float32))["OUT"].size == 251


def test_urls_of_every_form():
    assert choose_protocol(None, "GRPC://h:1/") == ("grpc", "h:1")
    assert choose_protocol(None, " http://[::1]:8000 ") == ("http", "[::1]:8000")
    assert choose_protocol(None, "https://h:443") == ("http", "h:443")


@pytest.mark.parametrize("spoken", ["grpc", "http", "grpcs"])
def test_the_wrong_port(started, spoken):
    """Each says what is there, and the url that fits."""
    there, place = ("gRPC", "grpc_url") if spoken == "http" else ("HTTP", "http_url")
    place = getattr(started.server, place)
    runner = Runner(url=f"{spoken}://{place}")
    words = rf"^{place} speaks {there}, not \w+: url='{there.lower()}://{place}'$"
    for call in (
        lambda: runner.flat.run(ROW),
        lambda: asyncio.run(runner.flat.async_run(ROW)),
        runner.is_server_live,
    ):
        with pytest.raises(ConnectionError, match=words):
            call()
    runner.close()


def test_a_port_of_neither():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        place = f"127.0.0.1:{listener.getsockname()[1]}"

        def greet():
            with contextlib.suppress(OSError):  # closed at the end
                while True:
                    with listener.accept()[0] as connection:
                        connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

        thread = threading.Thread(target=greet, daemon=True)
        thread.start()
        for protocol, words in (("http", "speaks no HTTP$"), ("grpc", "failed to connect")):
            runner = Runner(url=f"{protocol}://{place}")
            with pytest.raises(ConnectionError, match=words):
                runner.is_server_live()
            runner.close()
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def test_proxies_have_no_part_in_loopback(started, monkeypatch):
    for name in ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    for url in (started.url, f"http://{started.server.http_url}"):
        runner = Runner(url=url, metrics_url=started.server.metrics_url)
        assert runner.flat.run(ROW)["OUT"].tolist() == ROW.tolist()
        assert len(runner.metrics()) > 0
        runner.close()


def test_a_server_that_is_far_away(started):
    """Connections take their time: TLS over an ocean is half a second."""
    host, _, port = started.server.grpc_url.partition(":")
    listener = socket.create_server(("127.0.0.1", 0))
    waiting = threading.Event()

    def pass_on(one, other):
        with contextlib.suppress(OSError):
            while data := one.recv(1 << 16):
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)

    def serve():
        near, _ = listener.accept()
        waiting.wait(0.4)
        with near, socket.create_connection((host, int(port))) as far:
            threads = [threading.Thread(target=pass_on, args=ends) for ends in ((near, far), (far, near))]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    thread = threading.Thread(target=serve)
    thread.start()
    runner = Runner(url=f"grpc://127.0.0.1:{listener.getsockname()[1]}")
    assert runner.flat.run(ROW)["OUT"].tolist() == ROW.tolist()
    runner.close()
    thread.join(10)
    listener.close()


def test_tls(repository, backends, tmp_path, monkeypatch):
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make a certificate")
    key, certificate = str(tmp_path / "key"), str(tmp_path / "certificate")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", certificate]
    subprocess.run([*command.split(), *names], check=True, capture_output=True)
    files = {"grpc_server_cert": certificate, "grpc_server_key": key, "grpc_root_cert": certificate}
    options = {"backend_directory": backends, "grpc_use_ssl": True, **files}
    with pytest.raises(ValueError, match='without TLS: protocol="http" leaves gRPC to others'):
        Runner(repository, **options)
    with Runner(repository, protocol="http", **options) as server:
        url = f"grpcs://{server.server.grpc_url}"
        stranger = Runner(url=url)
        with pytest.raises(ConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
            stranger.flat.run(ROW)
        stranger.close()
        monkeypatch.setenv("SSL_CERT_FILE", certificate)
        monkeypatch.delenv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", raising=False)
        friend = Runner(url=url)
        assert friend.flat.run(ROW)["OUT"].tolist() == ROW.tolist()
        friend.close()


def test_headers_and_timeouts_of_the_runner_are_everybodys(repository, backends):
    apis = ("model-config", "shared-memory")
    with Runner(
        repository,
        backend_directory=backends,
        headers={"triton-grpc-protocol-authorization": "secret"},
        http_restricted_api=dict.fromkeys(apis, ("Authorization", "secret")),
        grpc_restricted_protocol=dict.fromkeys(apis, ("authorization", "secret")),
        shared_memory=True,
    ) as runner:
        large = np.zeros(1 << 16, np.float32)
        for _ in range(2):
            assert runner.flat.run(large)["OUT"].size == large.size
        assert runner.get_model_config("flat")["name"] == "flat"
        stranger = Runner(url=runner.url)
        with pytest.raises(TritonError, match="restricted"):
            stranger.get_model_config("flat")
        stranger.close()
        url = f"http://{runner.server.http_url}"
        for headers in ({"Authorization": "secret"}, {}):
            other = Runner(url=url, headers=headers)
            if headers:
                assert other.get_model_config("flat")["name"] == "flat"
            else:
                with pytest.raises(TritonError, match="restricted"):
                    other.get_model_config("flat")
            other.close()
        hurried = Runner(url=runner.url, client_timeout=0.1, headers=runner._core.headers)
        with pytest.raises(TimeoutError):
            hurried.infer("flat", {"IN": ROW}, parameters={"sleep": 1.0})
        hurried.close()
