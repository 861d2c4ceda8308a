"""A terminal that is drawn: what the pictures here have in common."""

from __future__ import annotations

import io
import re

from rich.console import Console


def terminal(width: int = 92) -> Console:
    """Give a console that remembers what it shows."""
    return Console(
        width=width, record=True, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )


def svg(console: Console, title: str, name: str) -> str:
    """Give what it showed as a picture.

    :param name: makes the ids of one picture differ from those of others on a page.
    """
    picture = console.export_svg(title=title, unique_id=name)
    # The fonts of whoever looks: a picture loads nothing.
    picture = re.sub(r"\s*@font-face \{.*?\}", "", picture, flags=re.DOTALL)
    return "\n".join(line.rstrip() for line in picture.splitlines()) + "\n"
