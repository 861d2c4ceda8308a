"""A model repository in a bucket: moto speaks S3, the real server reads it, and so does `tbsdk check`."""

from __future__ import annotations

import json
import os
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_explain import log_of
from triton_backend_sdk.cli import run
from triton_backend_sdk.tools.compat import build_compat
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.installation import find_server
from triton_backend_sdk.tools.ports import choose_ports
from triton_backend_sdk.tools.process import BoundProcess
from triton_backend_sdk.tools.remote import check_root

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "mine",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Give HOST:PORT of an S3."""
    moto = pytest.importorskip("moto.server", reason="pip install 'moto[server]' s3fs universal_pathlib")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"{host}:{port}"
    server.stop()


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


def upload(address: str, bucket: str, folder: Path) -> None:
    import boto3

    client = boto3.client("s3", endpoint_url=f"http://{address}")
    client.create_bucket(Bucket=bucket)
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            client.put_object(Bucket=bucket, Key=f"models/{file.relative_to(folder)}", Body=file.read_bytes())


def served(root: str, backends: Path) -> list[float]:
    """Start the server on a root and ask the model `doubled`."""
    ports = choose_ports(dict.fromkeys(("http", "grpc", "metrics"), None))
    flags = [
        f"--{name}-{part}" for name, port in ports.items() for part in (f"port={port}", "address=127.0.0.1")
    ]
    argv = [find_server().binary, f"--model-repository={root}", f"--backend-directory={backends}", *flags]
    process = BoundProcess([str(each) for each in argv], env=dict(os.environ))
    try:
        url = f"http://127.0.0.1:{ports['http']}/v2"
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"{url}/health/ready", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None, process.lines()
                assert time.monotonic() < deadline, process.lines()
                time.sleep(0.05)
        tensor = {"name": "INPUT", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}
        request = urllib.request.Request(
            f"{url}/models/doubled/infer", json.dumps({"inputs": [tensor]}).encode()
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            data: list[float] = json.load(answer)["outputs"][0]["data"]
            return data
    finally:
        process.stop(30)


@pytest.mark.usefixtures("environment")
def test_a_repository_in_s3_is_checked_and_served(address, tmp_path, capsys):
    run(["new", "doubled", "--framework", "python", "--into", str(tmp_path / "models")])
    upload(address, "sound", tmp_path / "models")
    build_compat(tmp_path / "backends", find_server().backends)
    capsys.readouterr()

    for root in (f"s3://{address}/sound/models", f"s3://http://{address}/sound/models"):
        assert check_root(root, find_server()).bucket == "sound"
        assert run(["check", root]) == 0, capsys.readouterr().out
        assert served(root, tmp_path / "backends") == [2, 4, 6, 8]


@pytest.mark.usefixtures("environment")
def test_a_broken_repository_in_s3_fails_in_both(address, tmp_path, capsys):
    run(["new", "image", "--framework", "onnx", "--into", str(tmp_path / "models")])
    config = tmp_path / "models" / "image" / "config.pbtxt"
    config.write_text(config.read_text() + 'name: "other"\n')
    upload(address, "broken", tmp_path / "models")
    root = f"s3://{address}/broken/models"
    capsys.readouterr()

    assert run(["check", root, "--no-server", "--json"]) == 2
    assert "C05" in {each["rule"] for each in json.loads(capsys.readouterr().out)}

    assert run(["explain", str(log_of(tmp_path, [f"--model-repository={root}"])), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)["findings"]
    assert [each["rule"] for each in found if each["severity"] == "error"] == ["C05"]


@pytest.mark.usefixtures("environment")
def test_no_such_bucket(address, tmp_path, capsys):
    root = f"s3://{address}/nowhere/models"

    with pytest.raises(HandledError, match="there is no bucket nowhere"):
        check_root(root, find_server())

    run(["explain", str(log_of(tmp_path, [f"--model-repository={root}"])), "--json"])
    found = json.loads(capsys.readouterr().out)["findings"]
    assert [each["id"] for each in found if each["severity"] == "error"] == ["cloud-credentials"]


@pytest.mark.usefixtures("environment")
def test_a_bucket_that_does_not_answer_leaves_a_log_that_says_so(tmp_path, capsys):
    """What the server does without the look before: nothing, for a long time."""
    log = log_of(tmp_path, ["--model-repository=s3://127.0.0.1:1/bucket/models"], seconds=4)

    assert run(["explain", str(log)]) == 1
    assert "the log ends where the server opens its model repository" in capsys.readouterr().out
