"""A model's config as the text of a config.pbtxt, laid out as a person would."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from triton_backend_sdk.tools.config_text import MAPS

#: Fields of model_config.proto whose strings are names of an enum, which go without quotes.
_ENUMS = frozenset(["data_type", "kind", "format", "timeout_action", "priority"])
#: The order of the fields that most configs have; others follow, in their own.
_ORDER = (
    "name",
    "backend",
    "max_batch_size",
    "dynamic_batching",
    "sequence_batching",
    "model_transaction_policy",
    "input",
    "output",
    "parameters",
    "instance_group",
)
_WIDEST = 100
_INDENT = "  "


def write_config(
    config: Mapping[str, Any], *, header: str = "", notes: Mapping[str, str] | None = None
) -> str:
    """Give the text of a config.pbtxt.

    :param config: in the form that Triton hands to a backend.
    :param header: a comment above it.
    :param notes: comments for parameters, by name.
    """
    fields = [field for field in _ORDER if field in config] + [
        field for field in config if field not in _ORDER
    ]
    blocks = [list(_field(field, config[field], notes or {})) for field in fields]
    lines = list(_comment(header)) + ([""] if header else [])
    for index, block in enumerate(blocks):
        if index and (len(block) > 1 or len(blocks[index - 1]) > 1):
            lines.append("")
        lines += block
    return "\n".join(lines) + "\n"


def _field(name: str, value: Any, notes: Mapping[str, str]) -> Iterator[str]:
    if name in MAPS:
        for index, (key, item) in enumerate(value.items()):
            note = notes.get(key, "") if name == "parameters" else ""
            if note and index:
                yield ""
            yield from _comment(note)
            yield from _message(name, {"key": key, "value": item})
    elif isinstance(value, Mapping):
        yield from _message(name, value)
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        yield f"{name} ["
        for index, item in enumerate(value):
            *lines, last = _message("", item, notes)
            comma = "," if index + 1 < len(value) else ""
            yield from (_INDENT + line for line in (*lines, last + comma))
        yield "]"
    elif isinstance(value, list):
        if value:
            yield f"{name}: [ {', '.join(_scalar(name, item) for item in value)} ]"
    else:
        yield f"{name}: {_scalar(name, value)}"


def _message(name: str, fields: Mapping[str, Any], notes: Mapping[str, str] | None = None) -> Iterator[str]:
    lines = [line for key, value in fields.items() for line in _field(key, value, notes or {})]
    head = f"{name} " if name else ""
    flat = f"{head}{{ {' '.join(lines)} }}"
    if not lines:
        yield f"{head}{{ }}"
    elif name and len(lines) == 1 and len(flat) < _WIDEST:
        yield flat
    else:
        yield f"{head}{{"
        yield from (_INDENT + line for line in lines)
        yield "}"


def _scalar(field: str, value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and not (field in _ENUMS and value.isidentifier()):
        return f'"{_escaped(value)}"'
    return str(value)


def _escaped(text: str) -> str:
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return re.sub(r"[\x00-\x1f\x7f]", lambda match: f"\\{ord(match[0]):03o}", text)


def _comment(text: str) -> Iterable[str]:
    return (f"# {line}".rstrip() for line in text.splitlines())
