"""Completion in bash, which takes ``--flag=value`` for three words."""

from __future__ import annotations

from click.shell_completion import BashComplete, add_completion_class


class _Bash(BashComplete):
    def get_completion_args(self) -> tuple[list[str], str]:
        """Give the words before the one that is completed, without the ``=`` between a flag and its value."""
        words, incomplete = super().get_completion_args()
        return [word for word in words if word != "="], incomplete


def register() -> None:
    """Have click complete so."""
    add_completion_class(_Bash, "bash")
