"""The schema of config.pbtxt that a server itself has, which may be older than the one at hand."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# How protobuf keeps the schema in a library that was compiled with it: a FileDescriptorProto of that name.
_START = b"\n\x12model_config.proto\x12\tinference"
_LENGTH_DELIMITED = 2
_LAST_FIELD = 12


def server_fields(library: Path) -> dict[str, set[str]] | None:
    """Give the fields of each message that a libtritonserver.so knows; None where it does not tell."""
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        start = data.find(_START)
        if start < 0:
            return None
        return _fields(data[start : _end(data, start)])


def _end(data: Any, at: int) -> int:
    """Find where the descriptor ends: what follows is none of its fields."""
    while True:
        tag, after = _varint(data, at)
        if tag & 7 != _LENGTH_DELIMITED or not 1 <= tag >> 3 <= _LAST_FIELD:
            return at
        length, after = _varint(data, after)
        at = after + length


def _varint(data: Any, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _fields(descriptor: bytes) -> dict[str, set[str]] | None:
    from google.protobuf import descriptor_pb2  # noqa: PLC0415  only where a server is at hand
    from google.protobuf.message import DecodeError  # noqa: PLC0415

    try:
        file = descriptor_pb2.FileDescriptorProto.FromString(descriptor)
    except DecodeError:
        return None
    return dict(_messages(file.package, file.message_type))


def _messages(prefix: str, messages: Any) -> Iterator[tuple[str, set[str]]]:
    for message in messages:
        name = f"{prefix}.{message.name}"
        yield name, {field.name for field in message.field}
        yield from _messages(name, message.nested_type)


def foreign_field(
    message: Any, known: dict[str, set[str]], path: tuple[str | int, ...] = ()
) -> tuple[tuple[str | int, ...], str, str] | None:
    """Find a field of a config that a server does not know: its path, its message's name and its own."""
    name = message.DESCRIPTOR.full_name
    for field, value in message.ListFields():
        here = (*path, field.name)
        if field.name not in known.get(name, ()):
            return here, name, field.name
        for index, each in _submessages(field, value):
            found = foreign_field(each, known, here if index is None else (*here, index))
            if found:
                return found
    return None


def _submessages(field: Any, value: Any) -> Iterator[tuple[int | None, Any]]:
    if field.message_type is None:
        return
    if field.message_type.GetOptions().map_entry:
        values = value.values()
        yield from ((None, each) for each in values if hasattr(each, "ListFields"))
    elif hasattr(value, "ListFields"):
        yield None, value
    else:
        yield from enumerate(value)
