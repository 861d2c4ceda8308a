"""tritonserver's flags as options of a command, from their table: grouped help, completion, its own words."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from triton_backend_sdk.cli.pass_through import PassThrough
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.server_options.deprecated import DEPRECATED
from triton_backend_sdk.tools.server_options.flags import GROUPS, SWITCH, Flag
from triton_backend_sdk.tools.server_options.options import ServerOptions, flags, read
from triton_backend_sdk.tools.server_options.values import InvalidOptionError

#: The oldest server that the SDK is for; a flag that came later says when.
_OLDEST = (2, 44)
_AFTER_DASHES = "after -- stand tritonserver's flags, as on its command line; all else stands before it"
_METAVARS: dict[type, str] = {bool: "BOOLEAN", int: "INTEGER", float: "FLOAT", Path: "PATH", str: "TEXT"}


class FlagType(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic in the newest click only
    """What one flag takes; the value stays text, which ServerOptions reads."""

    def __init__(self, flag: Flag) -> None:
        self.flag = flag
        self.name = flag.name

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Refuse what tritonserver would refuse, or read otherwise."""
        try:
            read(self.flag, [value])
        except InvalidOptionError as error:
            self.fail(str(error), param, ctx)
        return value

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Offer what the flag can be."""
        if self.flag.type is Path or self.flag.name == "model-repository":
            folder = self.flag.name.endswith(("-directory", "-repository"))
            return [CompletionItem(incomplete, type="dir" if folder else "file")]
        words = ("true", "false") if self.flag.type is bool else self.flag.choices
        return [CompletionItem(word) for word in words if word.lower().startswith(incomplete.lower())]


class FlagOption(click.Option):
    """A flag as an option of a command."""

    def __init__(self, flag: Flag) -> None:
        self.flag = flag
        notes = ["Repeatable."] if flag.repeats else []
        notes += [f"From {flag.since[0]}.{flag.since[1]}."] if flag.since > _OLDEST else []
        how: dict[str, Any] = {"is_flag": True} if flag.form is SWITCH else {"type": FlagType(flag)}
        if flag.form is not SWITCH:
            how["metavar"] = (
                flag.form.metavar if flag.form else "|".join(flag.choices) or _METAVARS[flag.type]
            )
        super().__init__(
            [f"--{flag.name}", flag.name.replace("-", "_")],
            multiple=flag.repeats,
            help=" ".join([f"{flag.help[0].upper()}{flag.help[1:]}.", *notes]),
            **how,
        )


class FlagCommand(PassThrough):
    """A command whose help shows tritonserver's flags below its own options, in groups."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, then the flags."""
        rows: dict[str, list[tuple[str, str]]] = {"Options": [], **{group: [] for group in GROUPS}}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
            if record is not None:
                rows[param.flag.group if isinstance(param, FlagOption) else "Options"].append(record)
        for group, records in rows.items():
            with formatter.section(group if group == "Options" else f"tritonserver, {group}"):
                formatter.write_dl(records, col_max=28)


def complete_paths(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer folders, and tritonserver's flags: those after ``--`` are completed as arguments."""
    if not incomplete.startswith("-"):
        return [CompletionItem(incomplete, type="dir")]
    options = ctx.command.get_params(ctx)
    flags = {f"--{option.flag.name}" for option in options if isinstance(option, FlagOption)}
    return [item for item in ctx.command.shell_complete(ctx, incomplete) if item.value in flags]


def flag_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a command's function: it gets the flags as keywords, for :func:`options_of`."""
    options = [FlagOption(flag) for flag in flags().values()]
    hidden = [click.Option([f"--{name}"], hidden=True, multiple=True) for name in DEPRECATED]
    params = function.__dict__.setdefault("__click_params__", [])
    params[:0] = reversed([*options, *hidden])
    return function


def options_of(
    given: Mapping[str, Any], pasted: Sequence[str], *, strict: bool, warn: Callable[[str], None]
) -> ServerOptions:
    """Read the flags of a command line.

    :param pasted: those after ``--``, which come last as on the line.
    :param strict: refuse the deprecated ones; otherwise ``warn`` is told of each.
    """
    argv = []
    for name, value in given.items():
        flag = name.replace("_", "-")
        if value is True:
            argv.append(f"--{flag}")
        elif value not in (None, False):
            argv += [f"--{flag}={text}" for text in ([value] if isinstance(value, str) else value)]
    try:
        return warned(lambda: ServerOptions.from_argv([*argv, *pasted], strict=strict), warn)
    except InvalidOptionError as error:
        raise HandledError(str(error), _AFTER_DASHES if pasted else None) from error


def warned(make: Callable[[], ServerOptions], warn: Callable[[str], None]) -> ServerOptions:
    """Make options, and tell ``warn`` what is deprecated of them."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DeprecationWarning)
        options = make()
    for text in dict.fromkeys(str(warning.message) for warning in caught):
        warn(text)
    return options


def merged(config: ServerOptions | None, flags: ServerOptions) -> ServerOptions:
    """Put the flags of a command line over those of a file."""
    return flags if config is None else config.replaced(**flags.given())


__all__: Sequence[str] = ["FlagCommand", "complete_paths", "flag_options", "merged", "options_of", "warned"]
