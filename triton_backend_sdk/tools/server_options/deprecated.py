"""Flags that tritonserver still takes but no longer wants, and what stands for each today."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

#: Flag and text, as they are to be written today.
_Modern = tuple[str, str]


@dataclass(frozen=True)
class Deprecated:
    """An old flag."""

    name: str
    #: Gives what stands for the flag with a value; None where it is left out.
    modern: Callable[[str], _Modern | None]
    note: str


def _strict(text: str) -> _Modern | None:
    return ("disable-auto-complete-config", "") if text.lower() in ("true", "on", "1") else None


def _level(text: str) -> _Modern:
    # MIN and MAX are of the first servers.
    level = {
        "min": "TIMESTAMPS",
        "max": "TIMESTAMPS",
        "true": "TIMESTAMPS",
        "on": "TIMESTAMPS",
        "false": "OFF",
    }
    return ("trace-config", f"level={level.get(text.lower(), text.upper())}")


DEPRECATED = {
    old.name: old
    for old in (
        Deprecated("model-store", lambda text: ("model-repository", text), "--model-repository is its name"),
        Deprecated(
            "strict-model-config", _strict, "--disable-auto-complete-config, without a value, is what it was"
        ),
        Deprecated(
            "response-cache-byte-size",
            lambda text: ("cache-config", f"local,size={text}"),
            "--cache-config=local,size=BYTES says the same",
        ),
        Deprecated(
            "trace-file",
            lambda text: ("trace-config", f"triton,file={text}"),
            "--trace-config=triton,file=FILE",
        ),
        Deprecated(
            "trace-log-frequency",
            lambda text: ("trace-config", f"triton,log-frequency={text}"),
            "--trace-config=triton,log-frequency=NUMBER",
        ),
        Deprecated("trace-level", _level, "--trace-config=level=LEVEL"),
        Deprecated("trace-rate", lambda text: ("trace-config", f"rate={text}"), "--trace-config=rate=NUMBER"),
        Deprecated(
            "trace-count", lambda text: ("trace-config", f"count={text}"), "--trace-config=count=NUMBER"
        ),
    )
}


def modernize(name: str, text: str) -> tuple[_Modern | None, str]:
    """Give what stands for an old flag with a value, if anything does, and the warning that goes with it."""
    old = DEPRECATED[name]
    return old.modern(text), f"--{name} is deprecated: {old.note}"
