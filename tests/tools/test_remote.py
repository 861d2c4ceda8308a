import socket
import time
from dataclasses import replace

import pytest

from triton_backend_sdk.tools import remote
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.server import TritonServer, find_server


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION", "AWS_REGION", remote.CREDENTIALS):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("uri", "bucket", "path", "endpoint"),
    [
        ("s3://bucket/a/b", "bucket", "a/b", "https://s3.us-east-1.amazonaws.com"),
        ("s3://bucket", "bucket", "", "https://s3.us-east-1.amazonaws.com"),
        ("s3://127.0.0.1:9000/bucket/a", "bucket", "a", "http://127.0.0.1:9000"),
        ("s3://https://minio:9000/bucket/a", "bucket", "a", "https://minio:9000"),
        ("gs://bucket/a", "bucket", "a", "https://storage.googleapis.com"),
        ("as://account/box/a", "box", "a", "https://account.blob.core.windows.net"),
        ("as://account.blob.core.windows.net/box", "box", "", "https://account.blob.core.windows.net"),
    ],
)
def test_roots(uri, bucket, path, endpoint):
    root = remote.parse(uri)
    assert (root.bucket, root.path, root.endpoint) == (bucket, path, endpoint)


@pytest.mark.parametrize(
    "uri", ["s3://", "gs:///a", "as://account", "s3://https://minio/bucket", "ftp://x/y"]
)
def test_what_is_no_root(uri):
    with pytest.raises(HandledError, match=uri):
        remote.parse(uri)


def test_nothing_at_the_endpoint_is_told_in_seconds():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        begin = time.monotonic()
        with pytest.raises(HandledError, match="Connection refused"):
            remote.check_root(f"s3://127.0.0.1:{free.getsockname()[1]}/bucket/models", find_server())
    assert time.monotonic() - begin < 5


def test_a_name_that_is_looked_up_for_ever_is_given_up(monkeypatch):
    monkeypatch.setattr(socket, "create_connection", lambda *given, **more: time.sleep(20))
    begin = time.monotonic()
    with pytest.raises(HandledError, match="timed out"):
        remote.check_root("gs://bucket/models", find_server(), timeout=0.3)
    assert time.monotonic() - begin < 3


def test_a_server_without_the_cloud_is_told(tmp_path):
    (tmp_path / "lib.so").write_bytes(b"... s3:// not supported: build with -DTRITON_ENABLE_S3=ON. ...")
    bare = replace(find_server(), library=tmp_path / "lib.so")
    assert not remote.supports(bare, "s3")
    assert remote.supports(bare, "gs")
    with pytest.raises(HandledError, match="was built without s3://") as caught:
        remote.check_root("s3://127.0.0.1:1/bucket/models", bare)
    assert "take NVIDIA's image" in caught.value.next_step


def test_credentials_that_are_not_there_are_told(monkeypatch, tmp_path):
    monkeypatch.setenv(remote.CREDENTIALS, str(tmp_path / "no.json"))
    with pytest.raises(HandledError, match=r"names .*no\.json, which is no file"):
        remote.check_root("s3://127.0.0.1:1/bucket", find_server())


def test_a_server_is_not_started_on_what_does_not_answer():
    server = TritonServer("s3://127.0.0.1:1/bucket/models")
    with pytest.raises(HandledError, match=r"no answer for s3://127\.0\.0\.1:1/bucket/models"):
        server.start()
    assert server.log_lines() == []
