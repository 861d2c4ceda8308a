"""Flags of tritonserver after ``--``, for the commands that take them."""

from __future__ import annotations

from pathlib import Path

import click


class PassThrough(click.Command):
    """A command whose arguments after ``--`` belong to another program."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse what stands before ``--``; what follows is the context's ``obj``.

        A whole command line may be pasted there: the program's name is left out.
        """
        cut = args.index("--") if "--" in args else len(args)
        pasted = args[cut + 1 :]
        ctx.obj = pasted[1:] if pasted and Path(pasted[0]).name == "tritonserver" else pasted
        return super().parse_args(ctx, args[:cut])

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Name the flags in the usage line."""
        return [*super().collect_usage_pieces(ctx), "[-- TRITONSERVER FLAGS...]"]
