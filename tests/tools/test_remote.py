import gc
import http.server
import json
import re
import socket
import threading
import time
from dataclasses import replace

import pytest

from triton_backend_sdk.tools import remote
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.remote_credentials import FILE, find
from triton_backend_sdk.tools.server import TritonServer, find_server

VARIABLES = """AWS_ENDPOINT_URL AWS_ENDPOINT_URL_S3 AWS_DEFAULT_REGION AWS_REGION AWS_ACCESS_KEY_ID
AWS_SECRET_ACCESS_KEY AWS_PROFILE AWS_WEB_IDENTITY_TOKEN_FILE AZURE_STORAGE_ACCOUNT AZURE_STORAGE_KEY
GOOGLE_APPLICATION_CREDENTIALS https_proxy HTTPS_PROXY all_proxy ALL_PROXY no_proxy NO_PROXY"""


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    for name in (*VARIABLES.split(), FILE):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def store():
    """Give a store whose answers a test chooses: ``store.answer`` is a status and headers."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            store.asked.append(self.path)
            status, headers = store.answer
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *given):
            pass

    store = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    store.answer, store.asked = (200, {}), []
    store.root = f"s3://127.0.0.1:{store.server_address[1]}/bucket/models"
    thread = threading.Thread(target=store.serve_forever, daemon=True)
    thread.start()
    yield store
    store.shutdown()
    store.server_close()
    thread.join(5)


@pytest.fixture
def unasked(monkeypatch):
    """Let every store answer; gives the host of the proxy for each that would have been asked."""
    proxies = []
    monkeypatch.setattr(remote, "_ask", lambda root, proxy, timeout: proxies.append(proxy and proxy.hostname))
    return proxies


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
    "uri",
    [
        "s3://",
        "gs:///a",
        "as://account",
        "s3://https://minio/bucket",
        "ftp://x/y",
        "s3://h:9000/b/a+b",
        "s3://h:9000/B",
    ],
)
def test_what_is_no_root(uri):
    with pytest.raises(HandledError, match=re.escape(uri)):
        remote.parse(uri)


def test_nothing_at_the_endpoint_is_told_in_seconds():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        begin = time.monotonic()
        with pytest.raises(HandledError, match="Connection refused"):
            remote.check_root(f"s3://127.0.0.1:{free.getsockname()[1]}/bucket/models", find_server())
    assert time.monotonic() - begin < 5


def test_a_name_that_is_looked_up_for_ever_is_given_up(monkeypatch):
    over = threading.Event()

    def connect(*given, **more):
        over.wait(20)
        raise OSError("late")

    monkeypatch.setattr(socket, "create_connection", connect)
    begin = time.monotonic()
    with pytest.raises(HandledError, match="timed out"):
        remote.check_root("gs://bucket/models", find_server(), timeout=0.3)
    over.set()
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
    monkeypatch.setenv(FILE, str(tmp_path / "no.json"))
    with pytest.raises(HandledError, match=r"names .*no\.json, which is no file"):
        remote.check_root("s3://127.0.0.1:1/bucket", find_server())


@pytest.mark.parametrize("status", [200, 403, 500])
def test_whatever_answers_is_there(store, status):
    store.answer = (status, {})

    assert remote.check_root(store.root, find_server()).path == "models"
    assert store.asked == ["/bucket"]


def test_a_bucket_that_is_not_there_is_told(store):
    store.answer = (404, {})

    with pytest.raises(HandledError, match="there is no bucket bucket at http://127"):
        remote.check_root(store.root, find_server())


def test_another_region_is_told(store):
    store.answer = (301, {"x-amz-bucket-region": "eu-west-1"})

    with pytest.raises(HandledError, match="bucket bucket lies in eu-west-1") as caught:
        remote.check_root(store.root, find_server())

    assert caught.value.next_step == "export AWS_DEFAULT_REGION=eu-west-1"


def test_https_to_what_speaks_http_is_told(store):
    begin = time.monotonic()
    with pytest.raises(HandledError, match=r"no answer for s3://https://.*(SSL|TLS|ssl)"):
        remote.check_root(store.root.replace("s3://", "s3://https://"), find_server())
    assert time.monotonic() - begin < 6


def test_a_store_that_never_answers_is_given_up():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        begin = time.monotonic()
        with pytest.raises(HandledError, match="no answer for"):
            remote.check_root(f"s3://127.0.0.1:{silent.getsockname()[1]}/bucket", find_server(), timeout=0.5)
        assert time.monotonic() - begin < 3


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("eu-central-1", "s3.eu-central-1.amazonaws.com"),
        ("cn-north-1", "s3.cn-north-1.amazonaws.com.cn"),
    ],
)
def test_the_region_chooses_the_host(unasked, region, host):
    env = {"AWS_DEFAULT_REGION": region}
    assert remote.check_root("s3://bucket/models", None, env=env).endpoint == f"https://{host}"


def credentials(tmp_path, content):
    file = tmp_path / "credentials.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return {FILE: str(file)}


@pytest.mark.parametrize(
    ("uri", "content", "says"),
    [
        ("s3://b/a", "no json", "which cannot be read: Expecting value"),
        ("s3://b/a", [], "has nothing for s3://"),
        ("s3://b/a", {"gs": {"": "x"}}, "has nothing for s3://"),
        ("s3://b/a", {"s3": {"s3://other": {}}}, "has nothing for s3://b/a; it has: s3://other"),
        ("s3://b/a", {"s3": {"": {"key_id": "x"}}}, "there is key_id in .*, but no secret_key"),
        ("s3://b/a", {"s3": {"": "x"}}, "is not as it should be for s3://"),
        ("gs://b/a", {"gs": {"": "/nowhere/key.json"}}, "names /nowhere/key.json, which is no file"),
        ("as://a/b", {"as": {"": {"account_key": "?"}}}, "account_key in .* is no key of a storage account"),
    ],
)
def test_a_file_of_credentials_that_cannot_be_right(tmp_path, uri, content, says):
    with pytest.raises(HandledError, match=says):
        remote.check_root(uri, find_server(), env=credentials(tmp_path, content))


def test_the_longest_entry_of_the_file_counts(tmp_path):
    entries = {"": {"region": "one"}, "s3://b": {"region": "two"}, "s3://b/a": {"region": "three"}}
    env = credentials(tmp_path, {"s3": entries})
    assert find("s3", "s3://b/a/models", env) == {"region": "three"}
    assert find("s3", "s3://c", env) == {"region": "one"}


@pytest.mark.parametrize(
    ("uri", "env", "says"),
    [
        ("s3://b", {"AWS_ACCESS_KEY_ID": "x"}, "there is AWS_ACCESS_KEY_ID, but no AWS_SECRET_ACCESS_KEY"),
        (
            "s3://b",
            {"AWS_SECRET_ACCESS_KEY": "x"},
            "there is AWS_SECRET_ACCESS_KEY, but no AWS_ACCESS_KEY_ID",
        ),
        ("s3://b", {"AWS_PROFILE": "work", "HOME": "/nowhere"}, "AWS_PROFILE is 'work', which is neither in"),
        ("s3://b", {"AWS_WEB_IDENTITY_TOKEN_FILE": "/nowhere"}, "names /nowhere, which is no file"),
        ("gs://b", {"GOOGLE_APPLICATION_CREDENTIALS": "/nowhere"}, "names /nowhere, which is no file"),
        ("as://a/b", {"AZURE_STORAGE_KEY": "eHh4"}, "AZURE_STORAGE_KEY, but no AZURE_STORAGE_ACCOUNT"),
        (
            "as://a/b",
            {"AZURE_STORAGE_ACCOUNT": "a", "AZURE_STORAGE_KEY": "y"},
            "AZURE_STORAGE_KEY is no key of a storage account",
        ),
    ],
)
def test_an_environment_that_cannot_be_right(uri, env, says):
    with pytest.raises(HandledError, match=says):
        remote.check_root(uri, find_server(), env=env)


@pytest.mark.parametrize(("file", "text"), [("credentials", "[work]\n"), ("config", "[profile work]\n")])
def test_a_profile(tmp_path, file, text):
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / file).write_text(text)
    env = {"AWS_PROFILE": "work", "HOME": str(tmp_path), "AWS_DEFAULT_REGION": "eu-west-1"}
    assert find("s3", "s3://b", env) == {"region": "eu-west-1"}


def test_an_endpoint_that_the_server_does_not_look_at_is_told(unasked, tmp_path):
    env = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9000/"}
    with pytest.raises(HandledError, match="does not look at it") as caught:
        remote.check_root("s3://bucket/models", find_server(), env=env)
    assert caught.value.next_step.startswith("write s3://http://127.0.0.1:9000/bucket/models with the port")

    assert remote.check_root("s3://127.0.0.1:9000/bucket/models", find_server(), env=env)
    (tmp_path / "lib.so").write_bytes(b"... AWS_ENDPOINT_URL ...")
    newer = replace(find_server(), library=tmp_path / "lib.so")
    assert remote.check_root("s3://bucket/models", newer, env=env).endpoint == "http://127.0.0.1:9000"


def test_the_account_of_the_credentials_is_the_one_that_is_asked(unasked):
    env = {"AZURE_STORAGE_ACCOUNT": "other"}
    root = remote.check_root("as://one/box/models", find_server(), env=env)
    assert root.endpoint == "https://other.blob.core.windows.net"
    assert "other" not in repr(root.credentials) or "credentials" not in repr(root)


@pytest.mark.parametrize("uri", ["gs://bucket/models", "as://account/box/models"])
@pytest.mark.parametrize("proxy", ["http://127.0.0.1:1", "127.0.0.1:1"])
def test_the_server_asks_a_proxy_and_so_it_is_asked(uri, proxy):
    with pytest.raises(HandledError, match=r"through the proxy 127\.0\.0\.1:1: Connection refused"):
        remote.check_root(uri, find_server(), env={"https_proxy": proxy})


def test_who_is_not_asked_through_a_proxy(unasked):
    env = {"HTTPS_PROXY": "http://127.0.0.1:1", "no_proxy": "storage.googleapis.com"}
    for uri in ("s3://bucket/models", "gs://bucket/models", "as://account/box"):
        assert remote.check_root(uri, find_server(), env=env)
    assert unasked == [None, None, "127.0.0.1"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_proxy_that_wants_a_login_gets_it():
    with socket.socket() as proxy:
        proxy.bind(("127.0.0.1", 0))
        proxy.listen()
        asked = []

        def answer():
            with proxy.accept()[0] as connection:
                asked.append(connection.recv(4096).decode())
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        env = {"https_proxy": f"http://me:p%40ss@127.0.0.1:{proxy.getsockname()[1]}"}
        with pytest.raises(HandledError, match="Tunnel connection failed: 403 Forbidden") as caught:
            remote.check_root("gs://bucket/models", None, env=env)
        thread.join(5)
    assert asked[0].startswith("CONNECT storage.googleapis.com:443 ")
    assert "Proxy-Authorization: Basic bWU6cEBzcw==" in asked[0]
    assert "p%40ss" not in caught.value.message
    del caught
    gc.collect()  # http.client of Python 3.10 leaves the answer of a proxy that refuses open


@pytest.mark.parametrize("cloud", ["s3", "gs", "as"])
def test_the_fetched_server_has_all_clouds(cloud):
    assert remote.supports(find_server(), cloud)


def test_a_server_is_not_started_on_what_does_not_answer():
    server = TritonServer("s3://127.0.0.1:1/bucket/models")
    with pytest.raises(HandledError, match=r"no answer for s3://127\.0\.0\.1:1/bucket/models"):
        server.start()
    assert server.log_lines() == []
