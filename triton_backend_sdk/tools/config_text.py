"""config.pbtxt as a dict, in the form that Triton itself hands to a backend.

A reader of protobuf's text format that knows of the schema only which fields repeat, so that a unit test
needs neither protobuf nor Triton's schema. It does not judge: a misspelt field is the real core's to report.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

from triton_backend_sdk.errors import InvalidArgError

_TOKEN = re.compile(
    r"""(?:\s|\#[^\n]*)*(?:
    (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    |(?P<number>-?\s*(?:0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)f?)
    |(?P<word>-?[A-Za-z_][\w.]*)
    |(?P<mark>[\[\]{}<>:,;])
    |(?P<end>\Z))""",
    re.VERBOSE,
)
#: Fields of model_config.proto that may occur again and again; the maps among them are in MAPS.
_REPEATED = frozenset(
    re.findall(
        r"\w+",
        """agents batch_input batch_output bool_false_true control control_input cpu_execution_accelerator
        dims fp32_false_true gpu_execution_accelerator gpus graph_spec initial_state input instance_group
        int32_false_true model_warmup op_library_filename output preferred_batch_size profile resources
        secondary_devices shape source_input state step target_name versions""",
    )
)
MAPS = frozenset(
    [
        "cc_model_filenames",
        "input_map",
        "inputs",
        "metric_tags",
        "output_map",
        "parameters",
        "priority_queue_policy",
    ]
)
_WORDS = {"true": True, "false": False, "inf": float("inf"), "-inf": float("-inf"), "nan": float("nan")}
_CLOSE = {"{": "}", "<": ">"}
_Token = tuple[str, str, int]


def parse_config(text: str) -> dict[str, Any]:
    """Read the text of a config.pbtxt.

    :raises InvalidArgError: it is no text format; names the line.
    """
    reader = _Reader(text)
    return reader.message("")


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._scan()
        self._next = next(self._tokens)

    def _scan(self) -> Iterator[_Token]:
        at = 0
        while True:
            match = _TOKEN.match(self._text, at)
            if match is None or match.lastgroup is None:
                raise self._error(at + len(self._text[at:]) - len(self._text[at:].lstrip()))
            yield match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)
            at = match.end()

    def _error(self, at: int) -> InvalidArgError:
        line = self._text.count("\n", 0, at) + 1
        return InvalidArgError(f"config.pbtxt, line {line}: cannot read {self._text[at : at + 20]!r}")

    def _take(self) -> _Token:
        token = self._next
        if token[0] != "end":
            self._next = next(self._tokens)
        return token

    def _skip(self, *marks: str) -> bool:
        if self._next[0] != "mark" or self._next[1] not in marks:
            return False
        self._take()
        return True

    def message(self, close: str) -> dict[str, Any]:
        """Read fields up to the closing mark, or the end of the text."""
        fields: dict[str, Any] = {}
        while not self._skip(close) and not (self._next[0] == "end" and not close):
            kind, name, at = self._take()
            if kind != "word":
                raise self._error(at)
            self._skip(":")
            _add(fields, name, self._value())
            self._skip(",", ";")
        return fields

    def _value(self) -> Any:
        kind, text, at = self._take()
        if text == "[" and kind == "mark":
            return self._list()
        if text in _CLOSE and kind == "mark":
            return self.message(_CLOSE[text])
        if kind == "string":
            return self._string(text)
        if kind == "number":
            return _number(text)
        if kind == "word":
            return _WORDS.get(text, text)
        raise self._error(at)

    def _list(self) -> list[Any]:
        items: list[Any] = []
        while not self._skip("]"):
            items.append(self._value())
            self._skip(",")
        return items

    def _string(self, text: str) -> str:
        parts = [text]
        while self._next[0] == "string":  # adjacent strings are one, as in C
            parts.append(self._take()[1])
        return "".join(ast.literal_eval(part) for part in parts)


def _add(fields: dict[str, Any], name: str, value: Any) -> None:
    values = value if isinstance(value, list) else [value]
    if name in MAPS:
        fields.setdefault(name, {}).update({entry["key"]: entry.get("value") for entry in values})
    elif name in _REPEATED or isinstance(value, list):
        fields.setdefault(name, []).extend(values)
    else:
        fields[name] = value


def _number(text: str) -> int | float:
    digits = re.sub(r"\s", "", text)
    if "x" in digits.lower():
        return int(digits, 16)
    digits = digits.rstrip("f")
    return float(digits) if re.search(r"[.eE]", digits) else int(digits)
