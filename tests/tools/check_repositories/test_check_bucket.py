"""Repositories that are read through fsspec: its memory file system, and S3 as moto's server speaks it."""

import json

import pytest

from tests.tools.check_repositories.cases import IO
from triton_backend_sdk.tools.check import repository
from triton_backend_sdk.tools.check.engine import check
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.server_options.options import ServerOptions

FILES = {
    "sound/config.pbtxt": IO,
    "sound/1/weights": "",
    "labels/config.pbtxt": 'output { name: "OUT" data_type: TYPE_FP32 dims: 4 label_filename: "labels.txt" }',
    "labels/1/weights": "",
    "labels/labels.txt": "a",
    "gone/config.pbtxt": 'output { name: "OUT" data_type: TYPE_FP32 dims: 4 label_filename: "labels.txt" }',
    "gone/1/weights": "",
    "onnx/1/model.onnx": "",
    "torch/config.pbtxt": 'platform: "pytorch_libtorch"',
    "torch/1/other.bin": "",
    "named/config.pbtxt": 'name: "other"\n' + IO,
    "named/01/weights": "",
}


def with_backend(text):
    return text if "platform:" in text else f'backend: "anything"\n{text}'


def texts():
    for path, text in FILES.items():
        yield path, (with_backend(text) if path.endswith("config.pbtxt") else text).encode()


def found(root):
    return {
        (each.model, each.rule, each.place.line) for each in check(ServerOptions(model_repository=[root]))
    }


EXPECTED = {
    ("gone", "C22", 2),
    ("torch", "C13", None),
    ("named", "C05", 2),
    ("named", "C07", None),
    ("named", "C08", None),
}


@pytest.fixture
def memory():
    pytest.importorskip("upath", reason="pip install universal_pathlib")
    fsspec = pytest.importorskip("fsspec")
    system = fsspec.filesystem("memory")
    for path, text in texts():
        system.pipe(f"/models/{path}", text)
    yield system
    system.rm("/models", recursive=True)


def test_memory(memory):
    assert found("memory://models") == EXPECTED


def test_nothing_is_mended_in_a_bucket(memory):
    assert [each.fix for each in check(ServerOptions(model_repository=["memory://models"])) if each.fix] == []


@pytest.fixture
def s3(monkeypatch):
    """Give HOST:PORT of a server that speaks S3 and has the bucket."""
    server = pytest.importorskip("moto.server", reason="pip install 'moto[server]'")
    pytest.importorskip("s3fs")
    pytest.importorskip("upath")
    boto3 = pytest.importorskip("boto3")
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "a"),
        ("AWS_SECRET_ACCESS_KEY", "b"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    running.start()
    host, port = running.get_host_and_port()
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}")
    client.create_bucket(Bucket="bucket")
    for path, text in texts():
        client.put_object(Bucket="bucket", Key=f"models/{path}", Body=text)
    yield f"{host}:{port}"
    running.stop()


def test_s3_at_its_own_address(s3):
    assert found(f"s3://{s3}/bucket/models") == EXPECTED
    assert found(f"s3://http://{s3}/bucket/models/") == EXPECTED


def test_s3_with_the_credentials_of_a_file(s3, tmp_path, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    file = tmp_path / "credentials.json"
    login = {"key_id": "a", "secret_key": "b", "region": "us-east-1"}
    file.write_text(json.dumps({"s3": {"": {"key_id": "wrong"}, f"s3://{s3}/bucket": login}}))
    monkeypatch.setenv("TRITON_CLOUD_CREDENTIAL_PATH", str(file))

    assert found(f"s3://{s3}/bucket/models") == EXPECTED


def test_credentials_that_cannot_be_read(tmp_path, monkeypatch):
    pytest.importorskip("upath")
    monkeypatch.setenv("TRITON_CLOUD_CREDENTIAL_PATH", str(tmp_path / "absent"))

    with pytest.raises(HandledError, match="TRITON_CLOUD_CREDENTIAL_PATH names"):
        check(ServerOptions(model_repository=["s3://bucket/models"]))


def test_s3_without_the_bucket(s3):
    [finding] = check(ServerOptions(model_repository=[f"s3://{s3}/other/models"]))

    assert (finding.rule, finding.severity) == ("C01", "error")


def test_s3_that_does_not_answer():
    pytest.importorskip("s3fs")
    pytest.importorskip("upath")

    [finding] = check(ServerOptions(model_repository=["s3://127.0.0.1:9/bucket/models"]))

    assert finding.rule == "C01"


def test_without_the_packages(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "upath", None)

    with pytest.raises(HandledError, match="lies in a bucket, which cannot be read here") as caught:
        check(ServerOptions(model_repository=["s3://bucket/models"]))

    assert caught.value.next_step == "pip install 'triton-backend-sdk[remote]'"


@pytest.mark.parametrize(("address", "path"), [("models", "models"), ("/models", "/models")])
def test_a_folder_is_no_bucket(address, path):
    assert str(repository.open_root(address)) == path
