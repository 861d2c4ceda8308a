"""Changes to a file's text by the positions of its tree, so that all else stays as it was written."""

from __future__ import annotations

import ast

from triton_backend_sdk.tools.migrate.source import Source


class Refusal(Exception):  # noqa: N818  it is an answer, no fault
    """The model is not one of the simple cases: why, and where."""

    def __init__(self, reason: str, node: ast.AST | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line: int = getattr(node, "lineno", 0)


class Editor:
    """Collects changes of a file and makes them all at once."""

    def __init__(self, source: Source) -> None:
        self._data = source.data
        self._lines = source.lines
        self._changes: dict[tuple[int, int], str] = {}

    def start(self, node: ast.AST) -> int:
        """Give the position at which a node begins."""
        position: int = self._lines[node.lineno - 1] + node.col_offset  # type: ignore[attr-defined]
        return position

    def end(self, node: ast.AST) -> int:
        """Give the position after a node."""
        position: int = self._lines[node.end_lineno - 1] + node.end_col_offset  # type: ignore[attr-defined]
        return position

    def between(self, start: int, end: int, text: str) -> None:
        """Replace what lies between two positions."""
        known = self._changes.get((start, end))
        if known not in (None, text) and start == end:
            text = f"{known}{text}"
        self._changes[start, end] = text

    def replace(self, node: ast.AST, text: str) -> None:
        """Replace a node."""
        self.between(self.start(node), self.end(node), text)

    def before(self, node: ast.AST, text: str) -> None:
        """Insert text before a node."""
        self.between(self.start(node), self.start(node), text)

    def after(self, node: ast.AST, text: str) -> None:
        """Insert text after a node."""
        self.between(self.end(node), self.end(node), text)

    def line(self, node: ast.stmt) -> None:
        """Remove the lines of a statement."""
        assert node.end_lineno is not None
        self.between(self._lines[node.lineno - 1], self._lines[node.end_lineno], "")

    def text(self) -> str:
        """Give the changed file.

        :raises Refusal: two changes are in each other's way.
        """
        parts, at = [], 0
        for (start, end), text in sorted(self._changes.items()):
            if start < at:
                raise Refusal("two changes of one place are in each other's way")
            parts += [self._data[at:start], text.encode()]
            at = end
        return b"".join([*parts, self._data[at:]]).decode()
