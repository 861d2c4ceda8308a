"""``tbsdk config``: the config.pbtxt that a plugin's Signature stands for."""

from __future__ import annotations

from pathlib import Path

import click

from triton_backend_sdk.cli import console
from triton_backend_sdk.tools.configs import check, config_text
from triton_backend_sdk.tools.project import Project


@click.command(
    epilog="""\b
Examples:
  tbsdk config                            print it
  tbsdk config -o model_repository/mybackend/config.pbtxt
  tbsdk config --model fast -p threads=8 -o model_repository/fast/config.pbtxt
  tbsdk config --check                    in CI: does the file still say what the code does?
"""
)
@click.argument("project", type=click.Path(path_type=Path), default=".")
@click.option("--model", metavar="NAME", help="The model that it is for.  [default: the backend's name]")
@click.option(
    "-p",
    "--parameter",
    "parameters",
    metavar="KEY=VALUE",
    multiple=True,
    help="A value for a parameter that the Signature declares.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write it there.  [default: print it]")
@click.option(
    "--check",
    "only_check",
    is_flag=True,
    help="Write nothing; fail if the file differs.  [file: -o, or the model's]",
)
def command(
    *, project: Path, model: str | None, parameters: tuple[str, ...], output: Path | None, only_check: bool
) -> None:
    """Print a whole config.pbtxt, made from the Signature in plugin.py.

    The hook auto_complete_config is called too, so run it where the plugin can be imported. Parameters that
    the file sets already keep their values.
    """
    for parameter in parameters:
        if "=" not in parameter:
            raise click.BadParameter(f"{parameter!r} is not KEY=VALUE", param_hint="-p")
    found = Project.find(project)
    name = model or found.name
    file = output or found.model_repository / name / "config.pbtxt"
    text = config_text(found, name, file, dict(parameter.split("=", 1) for parameter in parameters))
    if only_check:
        check(text, file)
        console.say(f"{file} is up to date")
    elif output is None:
        click.echo(text, nl=False)
    else:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text, encoding="utf-8")
        console.say(f"wrote {output}")
