"""A store that speaks S3 on this machine: moto, with its requests counted and its doors closed where a test wants."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

#: Everybody may in, with whatever name.
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "anybody",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
_PROXIES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
#: Roots at which nobody answers, and a pattern of what is said of them; see nobody_answers().
NOBODY = [
    ("s3://127.0.0.1:1/bucket/models", "Connection refused"),
    ("s3://https://127.0.0.1:1/bucket/models", "Connection refused"),
    ("s3://nosuch.invalid:9000/bucket/models", "no answer for s3://nosuch.invalid:9000/bucket/models"),
    ("s3://10.255.255.1:9000/bucket/models", "no answer for|there is no bucket"),
    ("gs://bucket/models", "through the proxy 127.0.0.1:1: Connection refused"),
    ("as://account/container/models", "through the proxy 127.0.0.1:1: Connection refused"),
]


class Quiet(WSGIRequestHandler):
    def log(self, *given: object) -> None: ...


class Store:
    """What tests need of it."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str]] = []
        self._is_closed = False
        # Asked for S3 by itself it takes half the time that it takes to find out which service is meant.
        self._s3, self._others = create_backend_app("s3"), DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._count, threaded=True, request_handler=Quiet)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        self.address = f"127.0.0.1:{self._server.server_port}"

    def _count(self, environ: dict[str, Any], start_response: Any) -> Any:
        self.requests.append((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
        if self._is_closed and "HTTP_AUTHORIZATION" not in environ:  # moto breaks on these
            start_response("403 Forbidden", [("Content-Type", "application/xml")])
            return [b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"]
        is_other = "/iam/" in environ.get("HTTP_AUTHORIZATION", "") or "/moto-api/" in environ["PATH_INFO"]
        return (self._others if is_other else self._s3)(environ, start_response)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def client(self, kind: str = "s3") -> Any:
        login = {"aws_access_key_id": "anybody", "aws_secret_access_key": "secret"}
        return boto3.client(kind, endpoint_url=f"http://{self.address}", region_name="us-east-1", **login)

    def put(self, bucket: str, files: Iterable[tuple[str, bytes]] = ()) -> None:
        """Make a bucket with files, which are put behind the store's door: by it they take 10 ms each."""
        self.client().create_bucket(Bucket=bucket)
        for key, content in files:
            s3_backends[DEFAULT_ACCOUNT_ID]["aws"].put_object(bucket, key, content)

    def upload(self, bucket: str, folder: Path) -> str:
        """Copy a folder, empty ones as consoles write them; gives the root as Triton takes it."""
        found = []
        for file in sorted(folder.rglob("*")):
            key = f"models/{file.relative_to(folder)}"
            if file.is_file():
                found.append((key, file.read_bytes()))
            elif not any(file.iterdir()):
                found.append((f"{key}/", b""))
        self.put(bucket, found)
        return f"s3://{self.address}/{bucket}/models"

    @contextlib.contextmanager
    def closed(self) -> Iterator[dict[str, str]]:
        """Let in only who has what this gives: the name and the secret of a user, as Triton's file has them."""
        iam = self.client("iam")
        iam.create_user(UserName="owner")
        key = iam.create_access_key(UserName="owner")["AccessKey"]
        rights = {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}],
        }
        iam.put_user_policy(UserName="owner", PolicyName="all", PolicyDocument=json.dumps(rights))
        self._allow("0")
        self._is_closed = True
        try:
            yield {"key_id": key["AccessKeyId"], "secret_key": key["SecretAccessKey"], "region": "us-east-1"}
        finally:
            self._is_closed = False
            self._allow("inf")
            iam.delete_user_policy(UserName="owner", PolicyName="all")
            iam.delete_access_key(UserName="owner", AccessKeyId=key["AccessKeyId"])
            iam.delete_user(UserName="owner")

    def _allow(self, count: str) -> None:
        request = urllib.request.Request(
            f"http://{self.address}/moto-api/reset-auth",
            count.encode(),
            {"Content-Type": "text/plain"},  # a form would be read as one
        )
        urllib.request.urlopen(request, timeout=10).close()


@contextlib.contextmanager
def a_store() -> Iterator[Store]:
    store = Store()
    try:
        yield store
    finally:
        store.close()


def sign_in(monkeypatch: pytest.MonkeyPatch, **more: str) -> None:
    """Set the environment that everybody has, and nothing of this machine's own."""
    for name in os.environ:
        own = name.startswith(("AWS_", "AZURE_", "GOOGLE_", "TRITON_CLOUD")) and name != "AWS_CA_BUNDLE"
        if own or name in _PROXIES:
            monkeypatch.delenv(name)
    for name, value in (ENVIRONMENT | more).items():
        monkeypatch.setenv(name, value)


def nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the clouds be behind a proxy that is not there, so that nothing leaves this machine."""
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
