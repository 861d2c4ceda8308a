"""Protobuf messages as plain values, as Triton's HTTP endpoint writes them: integers stay integers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MESSAGE, _ENUM, _BYTES = 11, 14, 12


def plain(message: Any) -> dict[str, Any]:
    """Make a dict of a message, fields at their default included, as far as they have a value."""
    found: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if isinstance(value, Mapping) or hasattr(value, "GetEntryClass"):
            found[field.name] = {
                key: _value(field.message_type.fields_by_name["value"], value[key]) for key in value
            }
        elif hasattr(value, "__len__") and not isinstance(value, (str, bytes)):
            found[field.name] = [_value(field, item) for item in value]
        elif not field.has_presence or message.HasField(field.name):
            found[field.name] = _value(field, value)
    return found


def _value(field: Any, value: Any) -> Any:
    if field.type == _MESSAGE:
        return plain(value)
    if field.type == _ENUM:
        number = field.enum_type.values_by_number.get(value)
        return number.name if number is not None else value
    return value.decode(errors="backslashreplace") if field.type == _BYTES else value


def parameters(given: Any) -> dict[str, Any]:
    """Read a map of InferParameters, in the order of their names: a map has none."""
    return {name: choice(given[name], "parameter_choice") for name in sorted(given)}


def choice(message: Any, oneof: str) -> Any:
    """Give what a oneof holds; None where it is not set."""
    which = message.WhichOneof(oneof)
    return None if which is None else getattr(message, which)
