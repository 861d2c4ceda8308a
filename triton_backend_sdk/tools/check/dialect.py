"""Where Triton's reader of protobuf's text and Python's differ: they are to agree on every config."""

from __future__ import annotations

import re
import unicodedata

# A text, a comment, or one of what lies between them that the two read differently.
_PIECE = re.compile(
    r"""(?P<comment>\#[^\n]*)
    |(?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    |(?P<minus>-\s+(?=[\d.]))
    |(?P<exponent>[\d.][eE]\+)
    |(?P<number>\b(?:0[bBoO]|\d+_)\w*)
    |(?P<plus>\+)
    |(?P<foreign>[^\t\n\v\f\r -~])""",
    re.VERBOSE,
)
_SUSPICIOUS = re.compile(r"\\|\+|-\s|\b(?:0[bBoO]|\d+_)|[^\t\n\v\f\r -~]")
# Of a bool or an enumeration Python takes these by their names and in decimals, Triton as of any number.
_NAMED = re.compile(r'Expected "true" or "false"|Enum type "[\w.]+" has no value named ')
_OTHER_BASE = re.compile(r"(?P<minus>-?)0(?:[xX](?P<hexadecimal>[0-9a-fA-F]+)|(?P<octal>[0-7]+))(?![\w.+-])")
_ESCAPES = r"""abfnrtv?\\'"0-7xXuU"""
_FOREIGN_ESCAPE = re.compile(rf"""(?:[^\\]|\\[{_ESCAPES}])*(\\[^{_ESCAPES}])""")
# Bytes by their numbers, a code point, or another escape.
_ESCAPED = re.compile(
    r"""(?P<bytes>(?:\\[0-7]{1,3}|\\[xX][0-9a-fA-F]{1,2})+)
    |\\(?:u(?P<short>[0-9a-fA-F]{4})|U(?P<long>[0-9a-fA-F]{8}))
    |\\.""",
    re.VERBOSE,
)
_REPLACEMENT = "\ufffd"
#: The last code point that there is, and the last that Triton does not refuse.
_LAST_CODE_POINT, _LAST_READ = 0x10FFFF, 0x1FFFFF
_ASCII = 0x80


class DialectError(ValueError):
    """What Triton refuses and Python would not.

    :param at: where in the text.
    """

    def __init__(self, said: str, at: int) -> None:
        self.at = at
        super().__init__(said)


def for_python(text: str) -> str:
    """Give a text as Python reads it the way that Triton does; every character stays on its line.

    :raises DialectError: Triton would not read it.
    """
    if not _SUSPICIOUS.search(text):
        return text
    if (null := text.find("\0")) >= 0:
        raise DialectError("a byte of zero: this is no text", null)
    return _PIECE.sub(_checked, text)


def in_decimals(text: str, line: int, column: int, said: str) -> str | None:
    """Give the text with the number in decimals of which Python complains; None: that is not it.

    :param said: its complaint.
    """
    start = sum(len(each) + 1 for each in text.split("\n")[: line - 1]) + column - 1
    number = _OTHER_BASE.match(text, start) if _NAMED.match(said) else None
    if number is None:
        return None
    value = int(number["hexadecimal"] or number["octal"], 16 if number["hexadecimal"] else 8)
    written = f"{number['minus']}{value}".ljust(len(number[0]))
    return None if written == number[0] else text[:start] + written + text[number.end() :]


def _checked(match: re.Match[str]) -> str:
    piece = match[0]
    if match.lastgroup == "plus":
        raise DialectError('Expected a value, got: "+"', match.start())
    if match.lastgroup == "number":
        raise DialectError(f"Couldn't parse integer: {piece}", match.start())
    if match.lastgroup == "foreign":
        raise DialectError(_foreign(piece, match.start()), match.start())
    if match.lastgroup == "text":
        if found := _FOREIGN_ESCAPE.match(piece):
            said = f"Invalid escape sequence in string literal: {found[1]}"
            raise DialectError(said, match.start() + found.start(1))
        return _ESCAPED.sub(_readable, piece)
    if match.lastgroup == "minus":
        return f"{piece[1:]}-"  # Triton takes "- 1" for -1
    return piece


def _foreign(character: str, at: int) -> str:
    if character == "\ufeff" and at == 0:
        return "the file begins with a byte order mark"
    name = unicodedata.name(character, "a control character")
    return f"{character!r} ({name}) may stand in texts and comments only"


def _readable(match: re.Match[str]) -> str:
    """Put what Python can hold where Triton takes bytes that are no UTF-8, or no code point."""
    if match["bytes"]:
        codes = re.findall(r"\\(?:[xX]([0-9a-fA-F]+)|([0-7]+))", match["bytes"])
        # As in C++, where \400 is more than a byte holds.
        data = bytes(
            int(hexadecimal or octal, 16 if hexadecimal else 8) & 0xFF for hexadecimal, octal in codes
        )
        said = data.decode("utf-8", "replace")
        return "".join(each if ord(each) >= _ASCII else f"\\{ord(each):03o}" for each in said)
    code = int(match["short"] or match["long"] or "0", 16)
    is_none = _LAST_CODE_POINT < code <= _LAST_READ or 0xD800 <= code <= 0xDFFF  # halves of UTF-16
    return _REPLACEMENT if is_none else match[0]
