"""Credentials for model repositories in clouds, as tritonserver takes them."""

from __future__ import annotations

import base64
import binascii
import configparser
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from triton_backend_sdk.tools.errors import HandledError

#: Names a file with credentials for all clouds; with it the server looks at no other variable.
FILE = "TRITON_CLOUD_CREDENTIAL_PATH"
_EXAMPLES = {
    "s3": '{"s3": {"": {"key_id": "...", "secret_key": "...", "region": "..."}}}',
    "gs": '{"gs": {"": "PATH/OF/KEY.json"}}',
    "as": '{"as": {"": {"account_str": "...", "account_key": "..."}}}',
}
_KEY = "name the JSON key of a service account"


def find(cloud: str, uri: str, env: Mapping[str, str]) -> dict[str, str]:
    """Give the credentials that the server would use, by the names of the file; {} where it has none.

    Those that AWS's and Google's own libraries find in the environment are left to these, but for the region.

    :raises HandledError: they cannot be right, and the server would say so late, badly or never.
    """
    if file := env.get(FILE):
        return _of_file(cloud, uri, Path(file))
    return {"s3": _s3, "gs": _gs, "as": _as}[cloud](env)


def _of_file(cloud: str, uri: str, file: Path) -> dict[str, str]:
    mend = f"{file} is to be like {_EXAMPLES[cloud]}, or unset {FILE}"
    if not file.is_file():
        raise HandledError(f"{FILE} names {file}, which is no file", "mend or unset the variable")
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise HandledError(f"{FILE} names {file}, which cannot be read: {error}", mend) from error
    every = entries.get(cloud) if isinstance(entries, dict) else None
    if not isinstance(every, dict):
        raise HandledError(f"{file}, which {FILE} names, has nothing for {cloud}://", mend)
    fitting = [prefix for prefix in every if uri.startswith(prefix)]
    if not fitting:
        told = ", ".join(every) or "none"
        raise HandledError(f"{file}, which {FILE} names, has nothing for {uri}; it has: {told}", mend)
    entry: Any = every[max(fitting, key=len)]
    if cloud == "gs":
        _check_file(str(entry), str(file), _KEY)
        return {"key_file": str(entry)}
    if not isinstance(entry, dict):
        raise HandledError(f"{file}, which {FILE} names, is not as it should be for {cloud}://", mend)
    if cloud == "s3":
        _check_pair(entry, "key_id", "secret_key", f" in {file}")
    else:
        _check_key(entry.get("account_key"), f"account_key in {file}")
    return {name: str(value) for name, value in entry.items()}


def _s3(env: Mapping[str, str]) -> dict[str, str]:
    _check_pair(env, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "")
    if file := env.get("AWS_WEB_IDENTITY_TOKEN_FILE"):
        _check_file(file, "AWS_WEB_IDENTITY_TOKEN_FILE", "mend or unset the variable")
    profile = env.get("AWS_PROFILE")
    if profile and not env.get("AWS_ACCESS_KEY_ID"):
        home = Path(env.get("HOME", "~")).expanduser()
        files = [
            Path(env.get("AWS_SHARED_CREDENTIALS_FILE") or home / ".aws" / "credentials"),
            Path(env.get("AWS_CONFIG_FILE") or home / ".aws" / "config"),
        ]
        if not any(profile in _profiles(file) for file in files):
            looked = " and ".join(map(str, files))
            raise HandledError(
                f"AWS_PROFILE is {profile!r}, which is neither in {looked}",
                f"aws configure --profile {profile}",
            )
    region = env.get("AWS_DEFAULT_REGION")
    return {"region": region} if region else {}


def _profiles(file: Path) -> set[str]:
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read(file, encoding="utf-8")
    except (configparser.Error, OSError, UnicodeDecodeError):
        return set()
    return {section.removeprefix("profile ").strip() for section in parser.sections()}


def _gs(env: Mapping[str, str]) -> dict[str, str]:
    if file := env.get("GOOGLE_APPLICATION_CREDENTIALS"):
        _check_file(file, "GOOGLE_APPLICATION_CREDENTIALS", _KEY)
    return {}


def _as(env: Mapping[str, str]) -> dict[str, str]:
    account, key = env.get("AZURE_STORAGE_ACCOUNT"), env.get("AZURE_STORAGE_KEY")
    if key and not account:
        raise HandledError(
            "there is AZURE_STORAGE_KEY, but no AZURE_STORAGE_ACCOUNT", "export AZURE_STORAGE_ACCOUNT=..."
        )
    _check_key(key, "AZURE_STORAGE_KEY")
    return {name: value for name, value in (("account_str", account), ("account_key", key)) if value}


def _check_key(key: Any, origin: str) -> None:
    """Refuse a key of Azure's that is none: the server would abort."""
    try:
        base64.b64decode(str(key or ""), validate=True)
    except binascii.Error as error:
        raise HandledError(f"{origin} is no key of a storage account: {error}", "copy it anew") from error


def _check_file(file: str, origin: str, mend: str) -> None:
    if not Path(file).is_file():
        raise HandledError(f"{origin} names {file}, which is no file", mend)


def _check_pair(given: Mapping[str, Any], one: str, other: str, where: str) -> None:
    if bool(given.get(one)) != bool(given.get(other)):
        has, lacks = (one, other) if given.get(one) else (other, one)
        raise HandledError(
            f"there is {has}{where}, but no {lacks}: the server would look elsewhere for both",
            f"give both {one} and {other}, or none",
        )
