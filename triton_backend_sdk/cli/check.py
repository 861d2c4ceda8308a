"""``tbsdk check``: what is wrong with a model repository, before a server is started on it."""

from __future__ import annotations

import itertools
import json
import os
import re
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from triton_backend_sdk.cli import console
from triton_backend_sdk.cli.pass_through import PassThrough
from triton_backend_sdk.tools.check.engine import check, exit_status, mend, rules
from triton_backend_sdk.tools.check.finding import Finding
from triton_backend_sdk.tools.check.report import as_dict, sarif
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.installation import ServerInstallation, find_server
from triton_backend_sdk.tools.project import Project
from triton_backend_sdk.tools.server_options.options import ServerOptions, is_uri

_STYLES = {"note": "blue", "warning": "yellow", "error": "bold red"}
_FAILED = 2


@click.command(
    cls=PassThrough,
    epilog="""\b
Examples:
  tbsdk check                              the repository of the project here
  tbsdk check models
  tbsdk check models more_models --strict
  tbsdk check s3://bucket/models --no-server --gpus 2
  tbsdk check models --fix                 mend names and version folders
  tbsdk check models --json | jq -r '.[] | select(.severity == "error") | .file'
  tbsdk check models --sarif check.sarif   for what shows findings beside code
  tbsdk check -- --model-repository=models --model-control-mode=explicit

\b
Exit status:
  0  the server would serve every model (there may be notes)
  1  it would, but hardly as meant: warnings
  2  it would not start, or some model would not be served, or nothing could be looked at
""",
)
@click.argument("repositories", metavar="[REPO]...", nargs=-1)
@click.option(
    "--server",
    "server_path",
    type=click.Path(path_type=Path),
    help="The tritonserver that is meant: its backends, its version and its schema count.  [default: the one "
    "that tbsdk serve takes, if there is one]",
)
@click.option("--no-server", is_flag=True, help="No server in particular: today's rules, any backend.")
@click.option(
    "--backend-directory",
    type=click.Path(path_type=Path),
    help="Where backends lie.  [default: the server's]",
)
@click.option(
    "--strict",
    "--disable-auto-complete-config",
    "strict",
    is_flag=True,
    help="Configs are taken as they are, as with that flag of tritonserver.",
)
@click.option("--model-config-name", metavar="NAME", help="Look at configs/NAME.pbtxt where a model has it.")
@click.option("--model-namespacing", is_flag=True, help="Equal names in several repositories are allowed.")
@click.option(
    "--gpus", type=click.IntRange(0), help="How many the server will see.  [default: as this machine has]"
)
@click.option("--fix", is_flag=True, help="Mend what is safe to mend (C05, C08), then look again.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as a list of objects.")
@click.option("--sarif", "sarif_file", metavar="FILE", help="Write them as SARIF 2.1.0, too; - prints it.")
@click.option("--rules", "list_rules", is_flag=True, help="List the rules instead.")
@click.pass_obj
def command(
    flags: Sequence[str],
    /,
    *,
    repositories: tuple[str, ...],
    server_path: Path | None,
    no_server: bool,
    gpus: int | None,
    fix: bool,
    as_json: bool,
    sarif_file: str | None,
    list_rules: bool,
    **given: Any,
) -> int:
    """Say what a tritonserver would refuse in model repositories, and what it would not serve as meant.

    Each finding has a rule, the file and line, the server's own words and the mend. Nothing is started, and
    nothing of a model is run. A repository may be a folder, an address such as s3://bucket/models, or a
    project, whose backend need not be built yet.
    """
    if list_rules:
        _list_rules(as_json)
        return 0
    try:
        options = _options(flags, **given)
        built = _add_repositories(options, repositories)
        server = None if no_server else _server(server_path)
        seen = _gpus() if gpus is None else gpus
        findings = check(options, server=server, gpus=seen, built=built)
        if fix and (done := mend(findings)):
            for each in done:
                console.say(_shown(f"mended: {each.does}"))
            findings = check(options, server=server, gpus=seen, built=built)
    except HandledError as error:
        console.report(error)
        return _FAILED
    if sarif_file is not None:
        text = json.dumps(sarif(findings, rules()), indent=2)
        if sarif_file == "-":
            click.echo(text)
        else:
            Path(sarif_file).write_text(text + "\n", encoding="utf-8")
    if as_json:
        click.echo(json.dumps([as_dict(finding) for finding in findings], indent=2))
    elif sarif_file != "-":
        _show(findings)
        _sum_up(findings, options, server)
    return exit_status(findings)


def _options(
    flags: Sequence[str],
    *,
    backend_directory: Path | None,
    strict: bool,
    model_config_name: str | None,
    model_namespacing: bool,
) -> ServerOptions:
    with warnings.catch_warnings(record=True) as old:
        warnings.simplefilter("always")
        try:
            options = ServerOptions.from_argv(flags)
        except ValueError as error:
            raise click.UsageError(str(error)) from error
    for each in old:
        console.say(f"warning: {each.message}")
    options.backend_directory = backend_directory or options.backend_directory
    options.disable_auto_complete_config = strict or options.disable_auto_complete_config
    options.model_config_name = model_config_name or options.model_config_name
    options.model_namespacing = model_namespacing or options.model_namespacing
    return options


def _add_repositories(options: ServerOptions, named: Sequence[str]) -> set[str]:
    """Put what was named before the flags' own, a project's repository for a project; give what it builds."""
    if "" in named:
        raise click.UsageError("a model repository has no name: is a variable of the shell empty?")
    given = options.model_repository or []
    found: list[Path | str] = []
    built = set()
    for path in named or ([] if given else ["."]):
        project = _project(path)
        if project is not None:
            built.add(project.name)
            is_itself = not named or Path(path).resolve() == project.root
            found.append(os.path.relpath(project.model_repository) if is_itself else path)
        elif named:
            found.append(path)
    options.model_repository = [*found, *given]
    if not options.model_repository:
        raise click.UsageError(
            "no project is here: name one, or a model repository, the folder that holds folders of models."
        )
    return set() if options.backend_directory else built


def _project(path: str) -> Project | None:
    try:
        return None if is_uri(path) else Project.find(Path(path))
    except HandledError:
        return None


def _server(path: Path | None) -> ServerInstallation | None:
    try:
        return find_server(path)
    except HandledError:
        if path is not None:
            raise
        return None


def _gpus() -> int:
    return sum(bool(re.fullmatch(r"nvidia\d+", device.name)) for device in Path("/dev").glob("nvidia*"))


def _list_rules(as_json: bool) -> None:
    every = rules().values()
    if as_json:
        rows = [
            {"rule": rule.id, "severity": rule.severity, "phase": rule.phase, "summary": rule.summary}
            for rule in every
        ]
        click.echo(json.dumps(rows, indent=2))
        return
    for rule in every:
        severity = Text(f"{rule.severity:<8}", _STYLES[rule.severity])
        console.out.print(Text(f"{rule.id}  ") + severity + Text(rule.summary), soft_wrap=True)


def _show(findings: Sequence[Finding]) -> None:
    for path, group in itertools.groupby(findings, key=lambda each: each.place.path):
        console.out.print(Text(_shown(path), "bold"), soft_wrap=True)
        for finding in group:
            line = f"{finding.place.line}:{finding.place.column or 1}" if finding.place.line else ""
            head = Text.assemble(
                (f"  {line:<7}", "dim"),
                (f"{finding.severity:<8}", _STYLES[finding.severity]),
                (f"{finding.rule}  ", "dim"),
                _shown(finding.message),
            )
            console.out.print(head, soft_wrap=True)
            if finding.server_says:
                console.out.print(
                    Text(_shown(f'{"":14}Triton: "{finding.server_says}"'), "dim"), soft_wrap=True
                )
            if finding.mend:
                fixes = "  (--fix does it)" if finding.fix else ""
                console.out.print(Text(_shown(f"{'':14}mend:   {finding.mend}{fixes}")), soft_wrap=True)


def _shown(text: str) -> str:
    """Give a text without what no terminal takes: bytes of a folder's name that are no UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


def _sum_up(findings: Sequence[Finding], options: ServerOptions, server: ServerInstallation | None) -> None:
    counts = Counter(finding.severity for finding in findings)
    told = [
        f"{counts[kind]} {kind}{'s' * (counts[kind] != 1)}"
        for kind in ("error", "warning", "note")
        if counts[kind]
    ]
    against = "today's Triton, with any backend"
    if server is not None:
        against = f"tritonserver {server.version or ''} ({server.origin})".replace("  ", " ")
    roots = ", ".join(map(str, options.model_repository or ()))
    verdict = ", ".join(told) if told else "nothing to mend"
    style = next((_STYLES[kind] for kind in ("error", "warning") if counts[kind]), "green")
    console.out.print(
        Text(_shown(f"{roots}: ")) + Text(verdict, style) + Text(f"; held against {against}", "dim"),
        soft_wrap=True,
    )
