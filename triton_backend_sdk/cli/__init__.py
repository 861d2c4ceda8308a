"""The command ``tbsdk``: a table of commands, each in a module of its own that is imported when it runs."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from triton_backend_sdk._version import __version__
from triton_backend_sdk.tools.errors import HandledError

#: Command to module and summary, in the order in which a newcomer meets them. The summary stands here too so
#: that `tbsdk --help` imports none of them.
COMMANDS = {
    "demo": ("triton_backend_sdk.cli.demo", "Do the whole job once, in front of your eyes."),
    "new": ("triton_backend_sdk.cli.new", "Write a new backend project that already works."),
    "migrate": (
        "triton_backend_sdk.cli.migrate",
        "Tell whether a model.py runs in process, or write it as a backend.",
    ),
    "config": (
        "triton_backend_sdk.cli.config",
        "Print the config.pbtxt that a plugin's Signature stands for.",
    ),
    "build": ("triton_backend_sdk.cli.build", "Build libtriton_NAME.so and its backend directory."),
    "check": ("triton_backend_sdk.cli.check", "Say what a tritonserver would refuse in a model repository."),
    "explain": (
        "triton_backend_sdk.cli.explain",
        "Say what went wrong in a server's log, and what to do.",
    ),
    "serve": ("triton_backend_sdk.cli.serve", "Build a backend and run the real tritonserver on it."),
    "infer": ("triton_backend_sdk.cli.infer", "Send one request to a running server."),
    "dockerfile": ("triton_backend_sdk.cli.dockerfile", "Print the Dockerfile that packs a backend."),
    "bento": ("triton_backend_sdk.cli.bento", "Serve a model repository with BentoML."),
    "server": ("triton_backend_sdk.cli.server", "Fetch a tritonserver, or tell which one is used."),
    "doctor": ("triton_backend_sdk.cli.doctor", "Tell what this machine has and lacks."),
}

_EXAMPLES = """\b
Examples:
  tbsdk new mybackend && cd mybackend     a backend that already works
  tbsdk serve                             build it, start the real tritonserver on it
  tbsdk infer mybackend -i IN=1,2,3       ask it something
  tbsdk build -o /opt/tritonserver/backends
"""


class _Commands(click.Group):
    """A group that imports a command when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(COMMANDS[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.group(cls=_Commands, epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tbsdk")
@click.option("--debug", is_flag=True, help="Show the traceback of an error (or TBSDK_DEBUG=1).")
@click.pass_obj
def cli(state: dict[str, Any] | None, debug: bool) -> None:
    """Write backends for NVIDIA's Triton Inference Server in Python."""
    if state is not None and debug:
        state["debug"] = True


def run(argv: Sequence[str], *, state: dict[str, Any] | None = None) -> int:
    """Run a command line and give its exit status.

    :raises HandledError: what the user can mend.
    :raises click.ClickException: a command line that makes no sense.
    """
    result = cli.main(args=list(argv), prog_name="tbsdk", standalone_mode=False, obj=state)
    return result if isinstance(result, int) else 0


def main() -> int:
    """Run sys.argv, report errors for people, and give the exit status."""
    if os.environ.get("_TBSDK_COMPLETE", "").startswith("bash"):
        from triton_backend_sdk.cli import completion  # noqa: PLC0415  a shell alone needs it

        completion.register()
    state = {"debug": os.environ.get("TBSDK_DEBUG", "") not in {"", "0"}}
    try:
        return run(sys.argv[1:], state=state)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        # The reader of our output has gone (`tbsdk ... | head`); keep Python from writing to it once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (HandledError, OSError) as error:
        if state["debug"]:
            raise
        from triton_backend_sdk.cli import console  # noqa: PLC0415  rich costs a tenth of a second

        console.report(error if isinstance(error, HandledError) else HandledError(str(error)))
        return 1
