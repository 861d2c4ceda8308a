"""A model repository in a bucket, which is listed once and then reads like a folder."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent import futures
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.installation import ServerInstallation
from triton_backend_sdk.tools.remote import CloudRoot, check_root, within
from triton_backend_sdk.tools.remote_credentials import FILE

#: Seconds that a store has for one request, and for the list of all that lies in a repository.
_REQUEST_S, _LIST_S = 5, 30
#: What is read at once, as nearly every model has it: a request for each, but all on their way together.
_READ_AT_ONCE = ("*/config.pbtxt", "*/*/model.py")
_PACKAGES = {
    "s3": "'triton-backend-sdk[remote]'",
    "gs": "'triton-backend-sdk[remote]' gcsfs",
    "as": "'triton-backend-sdk[remote]' adlfs",
}
_SIGN_IN = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "as": "AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_KEY",
}


class Listing:
    """What lies below a root.

    :param system: a file system of fsspec.
    :param top: the root, as that file system writes it.
    :param shown: the root, as a person writes it.
    """

    def __init__(self, system: Any, top: str, shown: str) -> None:
        self._system, self._top, self.shown = system, top.rstrip("/"), shown.rstrip("/")
        #: Bytes of each file, by its key below the root.
        self.sizes: dict[str, int] = {}
        #: What lies in each folder, and whether that is a folder.
        self.folders: dict[str, dict[str, bool]] = {}
        self._read: dict[str, Any] = {}
        #: Whether the root itself is a file.
        self.is_file = False
        self._list(system.find(self._top, detail=True))
        chosen = [key for key in self.sizes if any(_matches(key, pattern) for pattern in _READ_AT_ONCE)]
        self._fetch(chosen)

    def _list(self, found: Mapping[str, Mapping[str, Any]]) -> None:
        for name, about in found.items():
            key = name.lstrip("/").removeprefix(self._top.lstrip("/")).lstrip("/")
            if not key and about["type"] == "file" and not name.endswith("/"):
                self.is_file = True
                continue
            # A key that ends so is how consoles write an empty folder.
            folder = name.endswith("/") or about["type"] == "directory"
            parts = [part for part in key.split("/") if part]
            for depth in range(len(parts)):
                entries = self.folders.setdefault("/".join(parts[:depth]), {})
                entries[parts[depth]] = entries.get(parts[depth], False) or folder or depth + 1 < len(parts)
            if folder:
                self.folders.setdefault("/".join(parts), {})
            else:
                self.sizes["/".join(parts)] = int(about.get("size") or 0)

    def _fetch(self, keys: Sequence[str]) -> None:
        self._read |= {key: b"" for key in keys if not self.sizes[key]}
        full = [key for key in keys if self.sizes[key]]
        # Ranges, as a file alone is asked for its size first, and its name taken for a pattern.
        found = self._system.cat_ranges(
            [f"{self._top}/{key}" for key in full],
            [0] * len(full),
            [self.sizes[key] for key in full],
            on_error="return",
        )
        self._read |= dict(zip(full, found, strict=True))

    def read(self, key: str) -> bytes:
        """Give a file's content.

        :raises OSError: it is none, or cannot be read.
        """
        if key not in self.sizes:
            raise FileNotFoundError(errno.ENOENT, "No such file", f"{self.shown}/{key}")
        if key not in self._read:
            self._fetch([key])
        content = self._read[key]
        if isinstance(content, bytes):
            return content
        raise OSError(errno.EIO, str(content))


def _matches(key: str, pattern: str) -> bool:
    return key.count("/") == pattern.count("/") and fnmatchcase(key, pattern)


@dataclass(frozen=True)
class _Stat:
    st_size: int


@dataclass(frozen=True)
class BucketPath:
    """A place in a bucket, with what is used here of a Path."""

    listing: Listing = field(compare=False, repr=False)
    #: Below the root, without a slash at either end.
    key: str = ""

    def __str__(self) -> str:
        return f"{self.listing.shown}/{self.key}" if self.key else self.listing.shown

    def __truediv__(self, name: str) -> BucketPath:
        return BucketPath(self.listing, f"{self.key}/{name}".strip("/"))

    @property
    def name(self) -> str:
        """The last part."""
        return str(self).rpartition("/")[2]

    @property
    def parent(self) -> BucketPath:
        """The folder above; the root has none."""
        return BucketPath(self.listing, self.key.rpartition("/")[0])

    def is_dir(self) -> bool:
        """Tell whether something lies below."""
        return self.key in self.listing.folders

    def is_file(self) -> bool:
        """Tell whether it has content."""
        return self.key in self.listing.sizes if self.key else self.listing.is_file

    def exists(self) -> bool:
        """Tell whether it is either."""
        return self.is_dir() or self.is_file()

    def iterdir(self) -> Iterator[BucketPath]:
        """Give what lies in it."""
        if not self.is_dir():
            raise FileNotFoundError(errno.ENOENT, "No such folder", str(self))
        return (self / name for name in self.listing.folders[self.key])

    def stat(self) -> _Stat:
        """Give its size."""
        return _Stat(self.listing.sizes[self.key])

    def read_bytes(self) -> bytes:
        """Give its content."""
        return self.listing.read(self.key)


def open_bucket(uri: str, server: ServerInstallation | None = None) -> BucketPath:
    """List what lies at a root.

    :param server: the tritonserver that is meant.
    :raises HandledError: it cannot be, there is no answer, or the credentials do not suffice.
    """
    root = check_root(uri, server)
    try:
        listing = within(_LIST_S, lambda: _listed(root, uri))
    except ImportError as error:
        raise HandledError(
            f"{uri} lies in a bucket, which cannot be read here: {error}",
            f"pip install {_PACKAGES[root.cloud]}",
        ) from error
    except futures.TimeoutError as error:
        raise HandledError(
            f"{uri} was not listed within {_LIST_S} s", "name the folder of the models alone"
        ) from error
    except Exception as error:  # each kind of store has errors of its own
        said = getattr(error, "strerror", None) or str(error) or type(error).__name__
        origin = f"{FILE} ({os.environ[FILE]})" if os.environ.get(FILE) else _SIGN_IN[root.cloud]
        verb = "mend" if isinstance(error, PermissionError) else "look at"
        raise HandledError(
            f"the model repository cannot be read: {said}", f"{verb} the credentials: {origin}"
        ) from error
    if not root.path:
        listing.folders.setdefault("", {})  # a bucket is a folder, be it empty
    return BucketPath(listing)


def _listed(root: CloudRoot, uri: str) -> Listing:
    try:
        return Listing(*_file_system(root), uri)
    except Exception as error:
        if type(error).__name__ != "NoCredentialsError":
            raise
    # As the server does then: there are public buckets.
    return Listing(*_file_system(root, anon=True), uri)


def _file_system(root: CloudRoot, **more: Any) -> tuple[Any, str]:
    import fsspec  # noqa: PLC0415  an optional extra

    given, top = root.credentials, f"{root.bucket}/{root.path}"
    # Listings are not kept: a repository changes between two looks.
    always: dict[str, Any] = {"skip_instance_cache": True, "use_listings_cache": False}
    if root.cloud == "gs":
        token = {"token": given["key_file"]} if "key_file" in given else {}
        return fsspec.filesystem("gs", **always, **token), top
    if root.cloud == "as":
        account = urlsplit(root.endpoint).netloc.partition(".")[0]
        key = {"account_key": given["account_key"]} if "account_key" in given else {}
        return fsspec.filesystem("az", account_name=account, **always, **key), top
    client = {} if root.at_amazon else {"endpoint_url": root.endpoint}
    if "region" in given:
        client["region_name"] = given["region"]
    limits = {"connect_timeout": _REQUEST_S, "read_timeout": _REQUEST_S, "retries": {"max_attempts": 1}}
    names = {"key_id": "key", "secret_key": "secret", "session_token": "token", "profile": "profile"}
    login = {ours: given[name] for name, ours in names.items() if given.get(name)}
    return fsspec.filesystem("s3", client_kwargs=client, config_kwargs=limits, **always, **login, **more), top
