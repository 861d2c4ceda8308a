"""Flags that tritonserver still takes but no longer wants, and what stands for each today."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from triton_backend_sdk.tools.server_options.flags import Flag
from triton_backend_sdk.tools.server_options.values import InvalidOptionError, plain

#: Flag and text, as they are written: ``("http-port", "8000")``.
Given = tuple[str, str]


@dataclass(frozen=True)
class Deprecated:
    """An old flag."""

    name: str
    #: Gives what stands for the flag with a value; None where it is left out.
    modern: Callable[[str], Given | None]
    note: str
    #: The type of its value.
    type: type = str
    #: Each of several counts, not the last.
    repeats: bool = False


def _strict(text: str) -> Given | None:
    return ("disable-auto-complete-config", "") if text.lower() in ("true", "on", "1") else None


def _trace(prefix: str) -> Callable[[str], Given]:
    return lambda text: ("trace-config", prefix + text)


DEPRECATED = {
    old.name: old
    for old in (
        Deprecated(
            *("model-store", lambda text: ("model-repository", text), "--model-repository is its name"),
            repeats=True,
        ),
        Deprecated(
            *("strict-model-config", _strict),
            "--disable-auto-complete-config, without a value, is what it was",
            bool,
        ),
        Deprecated(
            *("response-cache-byte-size", lambda text: ("cache-config", f"local,size={text}")),
            "--cache-config=local,size=BYTES says the same",
            int,
        ),
        Deprecated("trace-file", _trace("triton,file="), "--trace-config=triton,file=FILE"),
        Deprecated(
            *("trace-log-frequency", _trace("triton,log-frequency=")),
            "--trace-config=triton,log-frequency=NUMBER",
            int,
        ),
        Deprecated("trace-level", _trace("level="), "--trace-config=level=LEVEL", repeats=True),
        Deprecated("trace-rate", _trace("rate="), "--trace-config=rate=NUMBER", int),
        Deprecated("trace-count", _trace("count="), "--trace-config=count=NUMBER", int),
    )
}
#: A setting that no server takes any more.
_TENSORFLOW = ("backend-config", "tensorflow,version")
_LEVELS = {
    **dict.fromkeys(("off", "false"), "OFF"),
    **dict.fromkeys(
        ("timestamps", "true", "on", "min", "max"), "TIMESTAMPS"
    ),  # the first servers had MIN, MAX
    "tensors": "TENSORS",
}


def modern(given: Sequence[Given], strict: bool) -> list[Given]:
    """Translate the old ones among flags, each a DeprecationWarning.

    :raises InvalidOptionError: there is an old one, and strict; one that contradicts a new one; or one whose
        value tritonserver would refuse.
    """
    found, old = [], []
    for name, text in given:
        note = _note(name, text)
        if note is None:
            found.append((name, text))
            continue
        if strict:
            raise InvalidOptionError(note)
        warnings.warn(note, DeprecationWarning, stacklevel=3)
        if name in DEPRECATED:
            plain(Flag(name, (2, 4), "", "", DEPRECATED[name].type), DEPRECATED[name].type, text)
            old.append((name, level(text) if name == "trace-level" else text))
    if {"cache-config", "response-cache-byte-size"} <= {name for name, _ in (*found, *old)}:
        raise InvalidOptionError(
            "Error: Incompatible flags --response-cache-byte-size and --cache-config both provided. "
            "Please provide one or the other."
        )
    # What is said in today's words counts more, wherever it stands; but trace levels add up.
    said = {_setting(each) for each in found} - {("trace-config", "level")}
    today = (DEPRECATED[name].modern(text) for name, text in _that_count(old))
    return [each for each in today if each and _setting(each) not in said] + found


def _note(name: str, text: str) -> str | None:
    if name in DEPRECATED:
        return f"--{name} is deprecated: {DEPRECATED[name].note}"
    if (name, text.partition("=")[0]) == _TENSORFLOW:
        return (
            f"--{name}={text} is deprecated: it is left out, as there is one TensorFlow since 2.33 and none "
            "since 2.57"
        )
    return None


def _setting(given: Given) -> Given:
    """Give what is told: for a repository that is all, for others what stands before the value."""
    name, text = given
    return given if name == "model-repository" else (name, text.partition("=")[0])


def level(text: str) -> str:
    """Give the trace level that a text stands for.

    :raises InvalidOptionError: there is no such level.
    """
    if text.lower() not in _LEVELS:
        raise InvalidOptionError(f"invalid value for trace level option: {text.lower()}")
    return _LEVELS[text.lower()]


def _that_count(old: Sequence[Given]) -> list[Given]:
    """Leave out what tritonserver overlooks: all but the last; where tracing is off, the other levels."""
    off, last = ("trace-level", "OFF") in old, dict(old)
    return [
        (name, text)
        for name, text in dict.fromkeys(old)
        if (DEPRECATED[name].repeats or last[name] == text)
        and not (off and name == "trace-level" and text != "OFF")
    ]
