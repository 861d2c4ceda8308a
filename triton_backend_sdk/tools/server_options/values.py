"""A flag's value as text on the command line, and back; what is wrong is said in tritonserver's own words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from triton_backend_sdk.tools.server_options.flags import (
    BY_DEVICE,
    RANGE,
    RESOURCES,
    RESTRICTED,
    SETTINGS,
    Flag,
    Form,
)

_BOOLS = {"true": True, "on": True, "1": True, "false": False, "off": False, "0": False}
_INT = re.compile(r"[ \t]*[+-]?[0-9]+")
_FLOAT = re.compile(r"[ \t]*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
#: Read as 64 bits; all others as 32.
_LONG = (
    *("pinned-memory-pool-byte-size", "http-max-input-size", "response-cache-byte-size"),
    *("cuda-memory-pool-byte-size", "cuda-virtual-address-size"),
)
#: As a device, tritonserver takes it for every one.
ALL_DEVICES = -1


class InvalidOptionError(ValueError):
    """A value that tritonserver would refuse, or silently take for another one."""


def texts(flag: Flag, value: Any) -> list[str]:
    """Give what follows ``--flag=``, once for each time that the flag is given.

    :raises InvalidOptionError: the value has another form than the flag's.
    """
    try:
        if flag.form in (SETTINGS, RESTRICTED, BY_DEVICE, RESOURCES):
            return list(_entries(flag, value))
        if flag.form is RANGE:
            first, last = value
            return [f"{first}-{last}"]
    except (TypeError, ValueError, AttributeError):
        wanted = _SHAPES[flag.form or SETTINGS]
        raise InvalidOptionError(f"--{flag.name} wants {wanted}, not {value!r}") from None
    if flag.repeats and not isinstance(value, (list, tuple)):
        raise InvalidOptionError(f"--{flag.name} wants a list, not {value!r}")
    return [plain_text(each) for each in value] if flag.repeats else [plain_text(value)]


#: What a field holds where it is no plain value.
_SHAPES = {
    SETTINGS: "{NAME: {SETTING: VALUE}}",
    RESTRICTED: "{API: (KEY, VALUE)}",
    BY_DEVICE: "{DEVICE: NUMBER}",
    RESOURCES: "{NAME: COUNT} or {NAME: {DEVICE: COUNT}}",
    RANGE: "(FIRST, LAST)",
}


def value(flag: Flag, given: list[str]) -> Any:
    """Give a flag's value from what followed ``--flag=``.

    :raises InvalidOptionError: tritonserver would refuse it, or read something else from it.
    """
    read = _READERS.get(flag.form) if flag.form else None
    if read is not None:
        return read(flag, given)
    if flag.repeats:
        return [plain(flag, flag.type, text) for text in given]
    return plain(flag, flag.type, given[-1])  # of several, tritonserver takes the last


def plain_text(value: Any) -> str:
    """Write a plain value as tritonserver reads it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _entries(flag: Flag, value: Mapping[Any, Any]) -> Iterable[str]:
    for name, inner in value.items():
        if flag.form is SETTINGS:
            prefix = f"{name}," if name else ""
            for setting, each in inner.items():
                several = each if isinstance(each, (list, tuple)) else [each]
                yield from (f"{prefix}{setting}={plain_text(one)}" for one in several)
        elif flag.form is RESTRICTED:
            key, wanted = inner
            yield f"{name}:{key}={wanted}"
        elif flag.form is RESOURCES and isinstance(inner, Mapping):
            yield from (f"{name}:{count}:{device}" for device, count in inner.items())
        else:
            yield f"{name}:{inner}"


def plain(flag: Flag, kind: type, text: str) -> Any:
    """Give a plain value from its text.

    :raises InvalidOptionError: tritonserver would refuse it, or read something else from it.
    """
    if flag.choices and (text if flag.name == "log-format" else text.lower()) not in flag.choices:
        raise InvalidOptionError(
            f"invalid argument for --{flag.name}: {text!r}; it can be {', '.join(flag.choices)}"
        )
    try:
        if kind is bool:
            return _bool(text)
        if kind is int:
            return _int(flag, text)
        if kind is float:
            return float(_whole(_FLOAT, text, "number"))
    except InvalidOptionError as error:
        raise InvalidOptionError(f"--{flag.name}={text}: {error}") from None
    return Path(text) if kind is Path else text


def _bool(text: str) -> bool:
    if text.lower() not in _BOOLS:
        raise InvalidOptionError(f"invalid value for bool option: {text}")
    return _BOOLS[text.lower()]


def _int(flag: Flag, text: str) -> int:
    if flag.name == "log-verbose" and text.lower() in ("true", "false"):
        return int(text.lower() == "true")
    number = int(_whole(_INT, text, "whole number"))
    limit = 1 << (63 if flag.name in _LONG else 31)
    if not -limit <= number < limit:
        raise InvalidOptionError(f"Provided option value is out of bound. Got {text}")
    return number


def _whole(form: re.Pattern[str], text: str, what: str) -> str:
    """Refuse a text of which tritonserver would read the beginning only."""
    if form.fullmatch(text):
        return text
    found = form.match(text)
    if found:
        raise InvalidOptionError(f"tritonserver would take it for {found[0]}; write a {what}")
    raise InvalidOptionError(f"Invalid option value. Got {text}")


def _split(flag: Flag, text: str) -> tuple[str, str, str]:
    """Take a text of the form NAME,SETTING=VALUE apart, as tritonserver does."""
    assert flag.form is not None
    unnamed = flag.name == "metrics-config"
    before, delimiter, after = ("", "", text) if unnamed else text.partition(flag.form.first)
    name, rest = (before, after) if delimiter else ("", text)
    if not name and (delimiter or flag.name == "cache-config") and flag.name in _MISSING:
        raise InvalidOptionError(f"{_MISSING[flag.name]} Got {text}")
    setting, _, value = rest.partition(flag.form.second)
    named = bool(name) or flag.name in _NAMELESS
    if not (setting and value and named) or (unnamed and "," in setting):
        raise InvalidOptionError(f"--{flag.name} option format is {_FORMATS[flag.name]}. Got {text}")
    return name, setting, value


#: Flags whose settings can be of no name; those of metrics-config always are.
_NAMELESS = ("backend-config", "trace-config", "metrics-config")
_FORMATS = {
    "backend-config": "'<backend name>,<setting>=<value>'",
    "cache-config": "'<cache name>,<setting>=<value>'",
    "host-policy": "'<policy name>,<setting>=<value>'",
    "http-restricted-api": "'<config name>:<setting>=<value>'",
    "grpc-restricted-protocol": "'<config name>:<setting>=<value>'",
    "metrics-config": "<setting>=<value>",
    "trace-config": "'<trace mode>,<setting>=<value>'",
}
_MISSING = {
    "backend-config": "No backend specified. --backend-config option format is <backend name>,"
    "<setting>=<value> or <setting>=<value>.",
    "cache-config": "No cache specified. --cache-config option format is <cache name>,<setting>=<value>.",
    "trace-config": "No trace mode specified. --trace-config option format is <trace mode>,"
    "<setting>=<value> or <setting>=<value>.",
}


def _settings(flag: Flag, given: list[str]) -> dict[str, Any]:
    found: dict[str, dict[str, Any]] = {}
    for text in given:
        name, setting, value = _split(flag, text)
        settings = found.setdefault(name, {})
        if setting in settings:  # tritonserver adds up the trace levels, and hands all others on
            before = settings[setting]
            settings[setting] = [*(before if isinstance(before, list) else [before]), value]
        else:
            settings[setting] = value
    return found


def _restricted(flag: Flag, given: list[str]) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for text in given:
        name, key, value = _split(flag, text)
        if name in found:
            kind = "api" if flag.name == "http-restricted-api" else "protocol"
            raise InvalidOptionError(
                f"restricted {kind} '{name}' can not be specified in multiple config groups"
            )
        found[name] = (key, value)
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


def _by_device(flag: Flag, given: list[str]) -> dict[int, Any]:
    # Of two limits of a GPU tritonserver takes the first, of two pools the last.
    given = given[::-1] if flag.name == "model-load-gpu-limit" else given
    return {plain(flag, int, k): plain(flag, flag.type, v) for k, v in _pairs(flag, given)}


def _range(flag: Flag, given: list[str]) -> tuple[int, int]:
    [(first, last)] = _pairs(flag, given[-1:])
    return plain(flag, int, first), plain(flag, int, last)


def _resources(flag: Flag, given: list[str]) -> dict[str, Any]:
    found: dict[str, dict[int, int]] = {}
    for text in given:
        parts = text.split(":")
        if len(parts) not in (2, 3):
            raise InvalidOptionError(
                "--rate-limit-resource option format is '<resource_name>:<count>:<device>' or "
                f"'<resource_name>:<count>'. Got {text}"
            )
        count = plain(flag, int, parts[1])
        device = plain(flag, int, parts[2]) if len(parts) == 3 else ALL_DEVICES
        counts = found.setdefault(parts[0], {})
        counts[device] = min(count, counts.get(device, count))  # as tritonserver does
    return {
        name: counts[ALL_DEVICES] if [*counts] == [ALL_DEVICES] else counts for name, counts in found.items()
    }


_READERS: dict[Form, Callable[[Flag, list[str]], Any]] = {
    SETTINGS: _settings,
    RESTRICTED: _restricted,
    BY_DEVICE: _by_device,
    RESOURCES: _resources,
    RANGE: _range,
}
