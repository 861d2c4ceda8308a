"""A flag's value as text on the command line, and back; what is wrong is said in tritonserver's own words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from triton_backend_sdk.tools.server_options.flags import (
    BY_DEVICE,
    RANGE,
    RESOURCES,
    RESTRICTED,
    SETTINGS,
    Flag,
)

_BOOLS = {"true": True, "on": True, "1": True, "false": False, "off": False, "0": False}
_INT = re.compile(r"[+-]?\d+")


class InvalidOptionError(ValueError):
    """A value that tritonserver would refuse, or silently take for another one."""


def texts(flag: Flag, value: Any) -> list[str]:
    """Give what follows ``--flag=``, once for each time that the flag is given."""
    if flag.form in (SETTINGS, RESTRICTED, BY_DEVICE, RESOURCES):
        return list(_entries(flag, value))
    if flag.form is RANGE:
        return ["{}-{}".format(*value)]
    return [plain_text(each) for each in value] if flag.repeats else [plain_text(value)]


def value(flag: Flag, given: list[str]) -> Any:
    """Give a flag's value from what followed ``--flag=``.

    :raises InvalidOptionError: tritonserver would refuse it, or read something else from it.
    """
    if flag.form in (SETTINGS, RESTRICTED):
        return _settings(flag, given)
    if flag.form is BY_DEVICE:
        return {int(_plain(flag, int, k)): _plain(flag, flag.type, v) for k, v in _pairs(flag, given)}
    if flag.form is RESOURCES:
        return _resources(flag, given)
    if flag.form is RANGE:
        first, last = (_plain(flag, int, part) for part in next(iter(_pairs(flag, given[-1:]))))
        return first, last
    if flag.repeats:
        return [_plain(flag, flag.type, text) for text in given]
    return _plain(flag, flag.type, given[-1])  # of several, tritonserver takes the last


def plain_text(value: Any) -> str:
    """Write a plain value as tritonserver reads it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _entries(flag: Flag, value: Mapping[Any, Any]) -> Iterable[str]:
    assert flag.form is not None
    for name, inner in value.items():
        if flag.form is SETTINGS:
            prefix = f"{name}," if name else ""
            yield from (f"{prefix}{setting}={plain_text(each)}" for setting, each in inner.items())
        elif flag.form is RESTRICTED:
            yield "{}:{}={}".format(name, *inner)
        elif isinstance(inner, Mapping):
            yield from (f"{name}:{count}:{device}" for device, count in inner.items())
        else:
            yield f"{name}:{inner}"


def _plain(flag: Flag, kind: type, text: str) -> Any:
    try:
        if kind is bool:
            return _bool(flag, text)
        if kind is int:
            return _int(flag, text)
        if kind is float:
            return float(text)
    except ValueError as error:
        said = error if isinstance(error, InvalidOptionError) else f"Invalid option value. Got {text}"
        raise InvalidOptionError(f"--{flag.name}={text}: {said}") from None
    return Path(text) if kind is Path else text


def _bool(flag: Flag, text: str) -> bool:
    if text.lower() not in _BOOLS:
        raise InvalidOptionError(f"invalid value for bool option: {text}")
    return _BOOLS[text.lower()]


def _int(flag: Flag, text: str) -> int:
    if flag.name == "log-verbose" and text.lower() in ("true", "false"):
        return int(text.lower() == "true")
    if not _INT.fullmatch(text):
        found = _INT.match(text)
        if found:
            raise InvalidOptionError(f"tritonserver would take it for {found[0]}; write a whole number")
        raise InvalidOptionError(f"Invalid option value. Got {text}")
    return int(text)


def _split(flag: Flag, text: str) -> tuple[str, str, str]:
    """Take a text of the form NAME,SETTING=VALUE apart."""
    form = flag.form
    assert form is not None
    name, delimiter, rest = text.partition(form.first)
    if not delimiter or (form is SETTINGS and form.second in name):
        name, rest = "", text
        delimiter = ""
    setting, equals, value = rest.partition(form.second)
    if delimiter and not name:
        raise InvalidOptionError(_no_name(flag, text))
    if not (equals and setting and value) or (not name and _needs_name(flag)):
        if flag.name == "cache-config" and not name and equals:
            raise InvalidOptionError(_no_name(flag, text))
        raise InvalidOptionError(f"--{flag.name} option format is '{_FORMATS[flag.name]}'. Got {text}")
    return name, setting, value


def _needs_name(flag: Flag) -> bool:
    return flag.form is RESTRICTED or flag.name in ("cache-config", "host-policy")


_FORMATS = {
    "backend-config": "<backend name>,<setting>=<value>",
    "cache-config": "<cache name>,<setting>=<value>",
    "host-policy": "<policy name>,<setting>=<value>",
    "http-restricted-api": "<config name>:<setting>=<value>",
    "grpc-restricted-protocol": "<config name>:<setting>=<value>",
    "metrics-config": "<setting>=<value>",
    "trace-config": "<trace mode>,<setting>=<value>",
}
_MISSING = {
    "backend-config": "No backend specified. --backend-config option format is <backend name>,"
    "<setting>=<value> or <setting>=<value>.",
    "cache-config": "No cache specified. --cache-config option format is <cache name>,<setting>=<value>.",
    "trace-config": "No trace mode specified. --trace-config option format is <trace mode>,"
    "<setting>=<value> or <setting>=<value>.",
}


def _no_name(flag: Flag, text: str) -> str:
    said = _MISSING.get(flag.name) or f"--{flag.name} option format is '{_FORMATS[flag.name]}'."
    return f"{said} Got {text}"


def _settings(flag: Flag, given: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for text in given:
        name, setting, value = _split(flag, text)
        if flag.form is RESTRICTED:
            found[name] = (setting, value)
        else:
            found.setdefault(name, {})[setting] = value
    return found


def _pairs(flag: Flag, given: list[str]) -> Iterable[tuple[str, str]]:
    assert flag.form is not None
    for text in given:
        first, delimiter, second = text.partition(flag.form.second)
        if not delimiter:
            raise InvalidOptionError(
                f"--{flag.name}={text}: Cannot parse pair option due to incorrect number of inputs."
                f"--<pair option> argument requires format <first>{flag.form.second}<second>. Found: {text}"
            )
        yield first, second


def _resources(flag: Flag, given: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for text in given:
        parts = text.split(":")
        if len(parts) not in (2, 3):
            raise InvalidOptionError(
                "--rate-limit-resource option format is '<resource_name>:<count>:<device>' or "
                f"'<resource_name>:<count>'. Got {text}"
            )
        name, count = parts[0], _plain(flag, int, parts[1])
        if len(parts) == 2:
            found[name] = count
        elif isinstance(found.setdefault(name, {}), dict):
            found[name][_plain(flag, int, parts[2])] = count
    return found
