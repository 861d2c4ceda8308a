"""``tbsdk serve``: build projects and run the real tritonserver on them until Ctrl-C."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from triton_backend_sdk.cli.server_flags import FlagCommand, complete_paths, flag_options

_PATH = click.Path(path_type=Path)


@click.command(
    cls=FlagCommand,
    epilog="""\b
Examples:
  tbsdk serve
  tbsdk serve --watch                     after an edit the new code answers
  tbsdk serve path/to/mybackend --http-port 9000
  tbsdk serve backend-a backend-b more-models/
  tbsdk serve --log-verbose=1 --model-control-mode=explicit --load-model=mybackend
  tbsdk serve --exit-on-error=false       models that fail do not stop the others
  tbsdk serve --compat path/to/models     models of the stock Python backend, in process
  tbsdk serve -- tritonserver --model-repository models --log-verbose 1     a command line as it is
  tbsdk serve --save-config server.yaml --log-verbose=1, then: tbsdk serve --config server.yaml
  eval "$(_TBSDK_COMPLETE=bash_source tbsdk)"     completion of all this in bash; zsh_source in zsh
""",
)
@flag_options
@click.argument("paths", nargs=-1, type=click.Path(), shell_complete=complete_paths)
@click.option("--server", type=_PATH, help="A tritonserver, or the folder above its bin.")
@click.option(
    "-o",
    "--output",
    "build_dir",
    type=_PATH,
    help="Where to build.  [default: PROJECT/build/serve; a passing folder where that is not one]",
)
@click.option(
    "--compat",
    is_flag=True,
    help="PATHS are model repositories of the stock Python backend, served as they are.",
)
@click.option(
    "--watch", is_flag=True, help="When files change, build anew and reload the models that they belong to."
)
@click.option(
    "--preload",
    type=_PATH,
    multiple=True,
    help="Library that the server loads first (LD_PRELOAD), such as custom operations; repeatable.",
)
@click.option("--config", type=_PATH, help="YAML file of tritonserver's flags; those given here count more.")
@click.option("--save-config", type=_PATH, help="Write the flags in use to a YAML file for --config.")
@click.option("--strict", is_flag=True, help="Refuse flags that are deprecated instead of translating them.")
@click.option("--plain", is_flag=True, help="Lines instead of the live view, as where output is no terminal.")
@click.pass_obj
def command(
    pasted: Sequence[str],
    /,
    *,
    paths: tuple[str, ...],
    server: Path | None,
    build_dir: Path | None,
    compat: bool,
    watch: bool,
    preload: tuple[Path, ...],
    config: Path | None,
    save_config: Path | None,
    strict: bool,
    plain: bool,
    **flags: Any,
) -> None:
    """Build backends and run the real tritonserver on them.

    PATHS are backend projects, or model repositories: folders, s3://, gs:// or as://. Without any it is the
    project here. A project's model_repository is served, on the project's own files and not on a copy.

    The server listens on 127.0.0.1, on ports 8000, 8001 and 8002 or free ones where these are taken. Ctrl-C
    stops it; a second Ctrl-C does not wait for requests in flight.

    With --compat there is no project: models of the stock Python backend run as they are, but in the
    server's process; those of the server's other backends run beside them.
    """
    # Imported when it runs: the help and the completion of a shell shall come at once.
    from triton_backend_sdk.cli import console  # noqa: PLC0415
    from triton_backend_sdk.cli.server_flags import merged, options_of, warned  # noqa: PLC0415
    from triton_backend_sdk.cli.serving import Serving  # noqa: PLC0415
    from triton_backend_sdk.tools.server_options import files  # noqa: PLC0415

    def warn(text: str) -> None:
        console.say(f"warning: {text}")

    base = warned(lambda: files.load(config, strict=strict), warn) if config else None
    options = merged(base, options_of(flags, pasted, strict=strict, warn=warn))
    if preload:
        options = options.replaced(preload=list(preload))
    if save_config:
        files.save(options, save_config)
    Serving(paths, options, server=server, build_dir=build_dir, compat=compat, watch=watch, plain=plain).run()
