"""Where Triton's reader of protobuf's text and Python's differ: they are to agree on every config."""

from __future__ import annotations

import re

# A text, a comment, or one of what lies between them that the two read differently.
_PIECE = re.compile(
    r"""(?P<comment>\#[^\n]*)
    |(?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    |(?P<minus>-\s+(?=[\d.]))
    |(?P<exponent>[\d.][eE]\+)
    |(?P<plus>\+)""",
    re.VERBOSE,
)
_SUSPICIOUS = re.compile(r"\\|\+|-\s")
_ESCAPES = r"""abfnrtv?\\'"0-7xXuU"""
_FOREIGN_ESCAPE = re.compile(rf"""(?:[^\\]|\\[{_ESCAPES}])*(\\[^{_ESCAPES}])""")


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
    return _PIECE.sub(_checked, text)


def _checked(match: re.Match[str]) -> str:
    piece = match[0]
    if match.lastgroup == "plus":
        raise DialectError('Expected a value, got: "+"', match.start())
    if match.lastgroup == "text" and (found := _FOREIGN_ESCAPE.match(piece)):
        said = f"Invalid escape sequence in string literal: {found[1]}"
        raise DialectError(said, match.start() + found.start(1))
    if match.lastgroup == "minus":
        return f"{piece[1:]}-"  # Triton takes "- 1" for -1
    return piece
