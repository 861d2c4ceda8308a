"""Repositories in buckets, by the addresses that Triton takes."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from triton_backend_sdk.tools.errors import HandledError

#: s3://[https://]host:port/bucket/path: a store that is not Amazon's.
_OWN_S3 = re.compile(r"s3://(?P<scheme>https?://)?(?P<host>[^/:]+:\d+)/(?P<path>.+)")
_AZURE = re.compile(r"as://(?P<account>[^/]+)/(?P<path>.+)")
#: Seconds that a store has to answer.
_LIMIT_S = 5


def bucket_path(address: str) -> Any:
    """Give an address as a path that reads like one on a disk.

    :raises ImportError: universal_pathlib, or the package of that kind of store, is not installed.
    """
    from upath import UPath  # noqa: PLC0415  an optional extra

    address = address.rstrip("/")
    given = _credentials(address)
    if match := _OWN_S3.fullmatch(address):
        url = f"{match['scheme'] or 'http://'}{match['host']}"
        return UPath(f"s3://{match['path']}", **_s3_options(given, endpoint_url=url))
    if match := _AZURE.fullmatch(address):
        key = {"account_key": given["account_key"]} if isinstance(given, dict) and given else {}
        return UPath(f"az://{match['path']}", account_name=match["account"], **key)
    if address.startswith("s3://"):
        return UPath(address, **_s3_options(given))
    if address.startswith("gs://") and isinstance(given, str):
        return UPath(address, token=given)
    return UPath(address)


def _s3_options(given: Any, **client: Any) -> dict[str, Any]:
    given = given if isinstance(given, dict) else {}
    if region := given.get("region") or os.environ.get("AWS_DEFAULT_REGION"):
        client["region_name"] = region
    limits = {"connect_timeout": _LIMIT_S, "read_timeout": _LIMIT_S, "retries": {"max_attempts": 1}}
    names = {"key_id": "key", "secret_key": "secret", "session_token": "token", "profile": "profile"}
    login = {ours: given[name] for name, ours in names.items() if given.get(name)}
    # Listings are not kept: a repository changes between two looks.
    return {"client_kwargs": client, "config_kwargs": limits, "use_listings_cache": False, **login}


def _credentials(address: str) -> Any:
    """Give what the file that TRITON_CLOUD_CREDENTIAL_PATH names has for an address, as Triton chooses it."""
    file = os.environ.get("TRITON_CLOUD_CREDENTIAL_PATH")
    if not file:
        return None
    try:
        every = json.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise HandledError(
            f"TRITON_CLOUD_CREDENTIAL_PATH names {file}, which cannot be read: {error}"
        ) from error
    entries = every.get(address.partition("://")[0], {})
    fitting = [prefix for prefix in entries if address.startswith(prefix)]
    return entries[max(fitting, key=len)] if fitting else None
