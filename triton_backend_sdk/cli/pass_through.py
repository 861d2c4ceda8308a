"""Flags of tritonserver after ``--``, for the commands that take them."""

from __future__ import annotations

import click


class PassThrough(click.Command):
    """A command whose arguments after ``--`` belong to another program."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse what stands before ``--``; what follows is the context's ``obj``."""
        cut = args.index("--") if "--" in args else len(args)
        ctx.obj = args[cut + 1 :]
        return super().parse_args(ctx, args[:cut])

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Name the flags in the usage line."""
        return [*super().collect_usage_pieces(ctx), "[-- TRITONSERVER FLAGS...]"]
