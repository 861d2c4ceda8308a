"""Repositories in buckets: the same findings as on a disk, in few requests, and an end where nothing can be read."""

from __future__ import annotations

import functools
import json
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from tests.s3 import NOBODY, Store, a_store, nobody_answers, sign_in
from tests.tools.check_repositories.cases import IO, TOGETHER, Link
from triton_backend_sdk.cli import run
from triton_backend_sdk.tools.check import bucket
from triton_backend_sdk.tools.check.engine import check, exit_status
from triton_backend_sdk.tools.check.finding import Finding
from triton_backend_sdk.tools.check.repository import open_root
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.installation import ServerInstallation
from triton_backend_sdk.tools.server_options.options import ServerOptions

CONFIG = f'backend: "anything"\n{IO}'.encode()


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with a_store() as store:
        yield store


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    sign_in(monkeypatch)


@pytest.fixture(scope="module")
def models(store: Store) -> str:
    """Give a root with one sound model."""
    store.put("sound", [("models/one/config.pbtxt", CONFIG), ("models/one/1/weights", b"x")])
    return f"s3://{store.address}/sound/models"


def findings(root: str | Path, **flags: bool) -> list[Finding]:
    return check(ServerOptions(model_repository=[root], **flags))


def only(root: str) -> Finding:
    [finding] = findings(root)
    assert (finding.rule, finding.severity, finding.place.path) == ("C01", "error", root)
    return finding


# What is found.


@pytest.fixture(scope="module")
def corpus(store: Store, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Give the cases of all rules on a disk, and in a bucket."""
    folder = tmp_path_factory.mktemp("corpus")
    for case in TOGETHER:
        if not any(isinstance(each, Link) for each in case.files.values()):
            case.write(folder)
    return folder, store.upload("corpus", folder)


@pytest.fixture(scope="module")
def findings_once() -> Callable[..., list[Finding]]:
    """Give what is found in the corpus; each root is read once."""
    return functools.cache(findings)


@pytest.mark.parametrize("strict", [False, True], ids=["completed", "strict"])
def test_the_verdict_is_the_same_as_on_a_disk(
    corpus: tuple[Path, str], findings_once: Callable[..., list[Finding]], strict: bool
) -> None:
    def told(root: str | Path) -> list[tuple[str | int | None, ...]]:
        found = findings_once(root, disable_auto_complete_config=strict)
        assert exit_status(found) == 2
        return sorted(
            (
                *(each.rule, each.severity, str(each.model), each.place.line, each.place.column),
                *(
                    str(text).replace(str(root), "ROOT")
                    for text in (each.place.path, each.message, each.mend)
                ),
            )
            for each in found
            if each.model != "strategy_absent"  # its config names the folder on the disk
        )

    on_disk, in_bucket = (told(root) for root in corpus)

    assert len(on_disk) > 150
    assert in_bucket == on_disk


def test_nothing_is_mended_in_a_bucket(
    corpus: tuple[Path, str], findings_once: Callable[..., list[Finding]]
) -> None:
    on_disk, in_bucket = (findings_once(root, disable_auto_complete_config=False) for root in corpus)
    assert [each for each in on_disk if each.fix]
    assert [each for each in in_bucket if each.fix] == []


def test_one_list_and_a_read_for_each_config(store: Store) -> None:
    files = [
        (f"models/model{number}/{name}", content)
        for number in range(60)
        for name, content in (("config.pbtxt", CONFIG), ("1/weights", b"x"), ("1/more/of/it", b"x"))
    ]
    store.put("many", files)
    store.requests.clear()
    began = time.monotonic()

    assert findings(f"s3://{store.address}/many/models") == []

    assert len(store.requests) < 70  # does it answer; its 180 keys; its 60 configs
    assert time.monotonic() - began < 60


@pytest.mark.parametrize(
    "form", ["s3://{}/sound/models", "s3://http://{}/sound/models/", "s3://{}/sound//models"]
)
def test_the_forms_of_an_address(store: Store, models: str, form: str) -> None:
    root = form.format(store.address)
    assert findings(root) == []
    assert str(open_root(root) / "one" / "config.pbtxt") == f"{root.rstrip('/')}/one/config.pbtxt"


def test_a_bucket_and_an_empty_folder_of_it(store: Store) -> None:
    store.put("void")
    store.put("hollow", [("models/", b"")])

    for root in (f"s3://{store.address}/void", f"s3://{store.address}/hollow/models"):
        [finding] = findings(root)
        assert (finding.rule, finding.severity) == ("C01", "warning")


def test_names_that_are_patterns(store: Store) -> None:
    store.put("patterns", [("models/a[1]*?/config.pbtxt", CONFIG), ("models/a[1]*?/1/weights", b"x")])
    assert findings(f"s3://{store.address}/patterns/models") == []


def test_any_file_system_of_fsspec() -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/top/models/one/config.pbtxt", CONFIG)
    memory.pipe("/top/models/one/1/weights", b"x")
    try:
        root = bucket.BucketPath(bucket.Listing(memory, "top/models", "gs://top/models"))
    finally:
        memory.rm("/top", recursive=True)

    config = root / "one" / "config.pbtxt"
    assert [str(each) for each in root.iterdir()] == ["gs://top/models/one"]
    assert (config.parent, config.name, config.read_bytes()) == (root / "one", "config.pbtxt", CONFIG)
    assert (config.stat().st_size, config.is_file(), (root / "one" / "1").is_dir()) == (
        len(CONFIG),
        True,
        True,
    )
    assert not (root / "two").exists()
    with pytest.raises(OSError, match="No such file"):
        (root / "two").read_bytes()
    with pytest.raises(OSError, match="No such folder"):
        (root / "two").iterdir()


# Credentials.


def test_credentials_of_the_environment(store: Store, models: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with store.closed() as owner:
        finding = only(models)
        assert "Access Key Id you provided does not exist" in finding.message
        assert (
            finding.mend
            == "mend the credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        )

        monkeypatch.setenv("AWS_ACCESS_KEY_ID", owner["key_id"])
        assert "signature" in only(models).message
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", owner["secret_key"])
        assert findings(models) == []


def test_credentials_of_a_file_are_all_that_counts(
    store: Store, models: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "credentials.json"
    monkeypatch.setenv("TRITON_CLOUD_CREDENTIAL_PATH", str(file))
    with store.closed() as owner:
        wrong = {"key_id": "wrong", "secret_key": "wrong"}
        file.write_text(json.dumps({"s3": {"": wrong, f"s3://{store.address}/sound": owner}}))
        assert findings(models) == []
        file.write_text(json.dumps({"s3": {"": wrong}}))
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", owner["key_id"])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", owner["secret_key"])
        assert only(models).mend == f"mend the credentials: TRITON_CLOUD_CREDENTIAL_PATH ({file})"


def test_without_credentials_what_is_public_can_be_read(
    store: Store, models: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)

    [finding] = findings(models)
    assert (finding.model, finding.message) == ("one", "cannot be read: Forbidden")
    client = store.client()
    for key in ("models/one/config.pbtxt", "models/one/1/weights"):
        client.put_object_acl(Bucket="sound", Key=key, ACL="public-read")
    assert findings(models) == []


def test_credentials_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch, models: str) -> None:
    monkeypatch.setenv("TRITON_CLOUD_CREDENTIAL_PATH", "/nowhere")
    assert "names /nowhere, which is no file" in only(models).message


@pytest.fixture
def other_clouds(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, object]]]:
    """Let memory stand for what is not installed; gives the options of each file system that is made."""
    made = []

    class Cloud(MemoryFileSystem):
        cachable = False

        def __init__(self, **options: object) -> None:
            made.append(options)
            super().__init__()

    for protocol in ("gs", "az"):
        monkeypatch.setitem(sys.modules["fsspec.registry"]._registry, protocol, Cloud)
    monkeypatch.setattr("triton_backend_sdk.tools.remote._ask", lambda *given: None)
    memory = fsspec.filesystem("memory")
    memory.pipe({"/box/models/one/config.pbtxt": CONFIG, "/box/models/one/1/weights": b"x"})
    yield made
    memory.rm("/box", recursive=True)


def test_google(
    other_clouds: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert findings("gs://box/models") == []
    for name in ("key.json", "credentials.json"):
        (tmp_path / name).write_text(json.dumps({"gs": {"": str(tmp_path / "key.json")}}))
    monkeypatch.setenv("TRITON_CLOUD_CREDENTIAL_PATH", str(tmp_path / "credentials.json"))
    assert findings("gs://box/models") == []
    assert [options.get("token") for options in other_clouds] == [None, str(tmp_path / "key.json")]


def test_azure(other_clouds: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch) -> None:
    assert findings("as://account/box/models") == []
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "other")
    monkeypatch.setenv("AZURE_STORAGE_KEY", "a2V5")
    assert findings("as://account/box/models") == []
    given = [(options["account_name"], options.get("account_key")) for options in other_clouds]
    assert given == [("account", None), ("other", "a2V5")]


# Nothing to read.


@pytest.mark.parametrize("place", ["nosuch", "model"])
def test_no_such_folder(store: Store, models: str, place: str) -> None:
    finding = only(f"{models}/one/1/weights" if place == "model" else f"{models}/nosuch")
    assert (
        finding.message
        == f"the model repository {'is a file, and no folder' if place == 'model' else 'is not there'}"
    )
    assert finding.server_says == "repository path is not a valid directory"


def test_no_such_bucket(store: Store) -> None:
    finding = only(f"s3://{store.address}/nosuch/models")
    assert finding.message == f"there is no bucket nosuch at http://{store.address}"


@pytest.mark.parametrize(
    ("root", "says"),
    [
        *NOBODY,
        ("ftp://host/models", "no model repository can be at ftp://host/models"),
    ],
)
def test_nobody_there(monkeypatch: pytest.MonkeyPatch, root: str, says: str) -> None:
    nobody_answers(monkeypatch)
    began = time.monotonic()

    assert re.search(says, only(root).message)
    assert time.monotonic() - began < 30


def test_a_server_without_the_cloud(tmp_path: Path, models: str) -> None:
    (tmp_path / "lib.so").write_bytes(b"... s3:// not supported: build with -DTRITON_ENABLE_S3=ON. ...")
    server = ServerInstallation(tmp_path / "lib.so", tmp_path / "lib.so", None, None, "given path", "2.51.0")
    [finding] = check(ServerOptions(model_repository=[models]), server=server)
    assert (finding.rule, "was built without s3://" in finding.message) == ("C01", True)


def test_a_store_that_takes_calls_and_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket, "check_root", functools.partial(bucket.check_root, timeout=0.5))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        assert (
            "timed out after 0.5 s" in only(f"s3://127.0.0.1:{silent.getsockname()[1]}/bucket/models").message
        )
        assert time.monotonic() - began < 30


def test_a_store_that_falls_silent_later(monkeypatch: pytest.MonkeyPatch, models: str) -> None:
    monkeypatch.setattr(bucket, "_LIST_S", 0.2)
    monkeypatch.setattr(bucket, "Listing", lambda *given: time.sleep(3))

    assert only(models).message == f"{models} was not listed within 0.2 s"


@pytest.mark.parametrize(
    ("root", "package", "next_step"),
    [
        ("s3://{}/sound/models", "fsspec", "pip install 'triton-backend-sdk[remote]'"),
        ("s3://{}/sound/models", "s3fs", "pip install 'triton-backend-sdk[remote]'"),
        ("gs://bucket/models", "gcsfs", "pip install 'triton-backend-sdk[remote]' gcsfs"),
        ("as://account/box/models", "adlfs", "pip install 'triton-backend-sdk[remote]' adlfs"),
    ],
)
def test_without_the_packages(
    store: Store,
    models: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    root: str,
    package: str,
    next_step: str,
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(
        sys.modules["fsspec.registry"]._registry, "s3", raising=False
    )  # it has found it before
    monkeypatch.setattr("triton_backend_sdk.tools.remote._ask", lambda *given: None)
    root = root.format(store.address)

    with pytest.raises(HandledError, match="lies in a bucket, which cannot be read here") as caught:
        findings(root)
    assert caught.value.next_step == next_step

    assert run(["check", root]) == 2
    assert next_step in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.parametrize(("address", "path"), [("models", "models"), ("/models", "/models")])
def test_a_folder_is_no_bucket(address: str, path: str) -> None:
    assert str(open_root(address)) == path
