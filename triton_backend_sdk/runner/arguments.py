"""What a call says beside its tensors, looked at before it is sent: protocols differ in what they notice."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from triton_backend_sdk.errors import InvalidArgError

Parameter: TypeAlias = str | int | float | bool

#: What the protocol says with a parameter, and callers with an argument.
RESERVED = ("sequence_id", "sequence_start", "sequence_end", "priority", "timeout")
_RESERVED_PREFIX = "triton_"
_MOST_INT, _MOST_UINT = 2**63 - 1, 2**64 - 1
_HEADER, _HEADER_VALUE = re.compile(r"[\w.-]+", re.ASCII), re.compile(r"[ -~]*")


def request_parameters(  # noqa: PLR0917  tritonclient's order
    sequence_id: int | str = 0,
    sequence_start: bool = False,
    sequence_end: bool = False,
    priority: int = 0,
    timeout: int | None = None,
    parameters: Mapping[str, Parameter] | None = None,
) -> dict[str, Parameter]:
    """Give the parameters that a request carries.

    :raises InvalidArgError: one of the caller's own has a name that is the protocol's, or a value is none
        that the protocol has.
    """
    if parameters is not None and not isinstance(parameters, Mapping):
        raise InvalidArgError(f"parameters takes a dict, not {parameters!r}")
    found = {name: _parameter(name, value) for name, value in (parameters or {}).items()}
    if not isinstance(sequence_id, str):
        sequence_id = _whole("sequence_id", sequence_id, _MOST_UINT)
    if sequence_id:
        said = {"sequence_start": bool(sequence_start), "sequence_end": bool(sequence_end)}
        found |= {"sequence_id": sequence_id, **said}
    if priority:
        found["priority"] = _whole("priority", priority, _MOST_UINT)
    if timeout is not None:
        found["timeout"] = _whole("timeout", timeout, _MOST_INT)
    return found


def _parameter(name: str, value: Any) -> Parameter:
    if not isinstance(name, str):
        raise InvalidArgError(f"parameter {name!r}: its name is no str")
    if name in RESERVED or name.startswith(_RESERVED_PREFIX):
        raise InvalidArgError(f"parameter {name!r} is the protocol's own: give it as an argument")
    found = value.item() if isinstance(value, np.generic) else value
    if not isinstance(found, (str, bool, int, float)):
        raise InvalidArgError(f"parameter {name!r}: {value!r} is no str, bool, int or float")
    if isinstance(found, int) and not -_MOST_INT - 1 <= found <= _MOST_INT:
        raise InvalidArgError(f"parameter {name!r}: {value!r} is out of the range of 64 bits")
    return found


def _whole(name: str, value: Any, most: int) -> int:
    try:
        found = operator.index(value)
    except TypeError:
        raise InvalidArgError(f"{name} takes a whole number, not {value!r}") from None
    if not 0 <= found <= most:
        raise InvalidArgError(f"{name} is 0 to {most}: got {found}")
    return found


def as_version(value: Any) -> str:
    """Read a model's version: a number above 0, or its digits; "" or None: the newest.

    :raises InvalidArgError: it is something else.
    """
    if value is None or value == "":
        return ""
    text = value if isinstance(value, str) else str(_whole("version", value, _MOST_INT))
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= _MOST_INT):
        raise InvalidArgError(f"version takes a whole number above 0: got {value!r}")
    return text


def as_name(value: Any) -> str:
    """Read a model's name.

    :raises TypeError: it is no text.
    :raises InvalidArgError: no model can have it.
    """
    if not isinstance(value, str):
        raise TypeError(f"a model's name is a str, not {value!r}")
    if not value or "\0" in value or not _is_unicode(value):
        raise InvalidArgError(f"no model can be called {value!r}")
    return value


def as_request_id(value: Any) -> str:
    """Read a request's id."""
    if not isinstance(value, str):
        raise TypeError(f"request_id takes a str, not {value!r}")
    return value


def as_timeout(seconds: Any) -> float | None:
    """Read the seconds of a client_timeout; None: no limit.

    :raises InvalidArgError: they are no number above 0.
    """
    if seconds is None or seconds == math.inf:
        return None
    if not isinstance(seconds, (int, float, np.integer, np.floating)) or not seconds > 0:
        raise InvalidArgError(f"client_timeout takes seconds above 0, or None: got {seconds!r}")
    return float(seconds)


def as_headers(given: Any) -> dict[str, str]:
    """Read headers, in the form that both protocols take.

    :raises InvalidArgError: a name or a value that no protocol carries.
    """
    if not isinstance(given, Mapping):
        raise InvalidArgError(f"headers takes a dict, not {given!r}")
    for name, value in given.items():
        if not (isinstance(name, str) and _HEADER.fullmatch(name)):
            raise InvalidArgError(f"header {name!r}: a name has letters, digits, -, _ and . only")
        if not (isinstance(value, str) and _HEADER_VALUE.fullmatch(value)):
            raise InvalidArgError(f"header {name!r}: {value!r} is no text of ASCII's printable characters")
    return dict(given)


def _is_unicode(text: str) -> bool:
    try:
        return bool(text.encode()) or True
    except UnicodeEncodeError:
        return False
