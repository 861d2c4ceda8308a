"""Run every rule over repositories."""

from __future__ import annotations

import importlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from triton_backend_sdk.tools.check.dependents import lost_ensembles
from triton_backend_sdk.tools.check.finding import Finding, Fix, Place
from triton_backend_sdk.tools.check.repository import CONFIG, Repository, entries, open_root, parent_of
from triton_backend_sdk.tools.check.rules import RULES, Context, Rule, closest
from triton_backend_sdk.tools.check.schema import server_fields
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.installation import ServerInstallation
from triton_backend_sdk.tools.remote import meant
from triton_backend_sdk.tools.server_options.options import ServerOptions, is_uri

_FAMILIES = (
    "layout",
    "config",
    "backend",
    "files",
    "batching",
    "tensors",
    "batch_io",
    "instances",
    "sequence",
    "states",
    "ensemble",
    "members",
    "warmup",
    "operations",
)
#: Where a tritonserver looks for repository agents, wherever it lies itself.
_AGENTS = "/opt/tritonserver/repoagents"
_NAME = "name the folder that holds a folder for each model: REPOSITORY/MODEL/1/"
_STATUS = {"note": 0, "warning": 1, "error": 2}


def rules() -> dict[str, Rule]:
    """Give all rules, by id."""
    for family in _FAMILIES:
        importlib.import_module(f"triton_backend_sdk.tools.check.rules_{family}")
    return dict(sorted(RULES.items()))


def check(
    options: ServerOptions,
    *,
    server: ServerInstallation | None = None,
    gpus: int = 0,
    built: Collection[str] = (),
) -> list[Finding]:
    """Look at the repositories that a server with these options would serve.

    :param server: the tritonserver that is meant; where none is, nobody looks for backends.
    :param gpus: how many it would see.
    :param built: backends that will be there, as ``tbsdk serve`` builds them.
    :raises HandledError: a repository in a bucket cannot be read here.
    """
    rules()
    found: list[Finding] = []
    repositories = []
    for root in options.model_repository or ():
        try:
            path = open_root(root, server)
        except HandledError as error:
            if isinstance(error.__cause__, ImportError):
                raise  # not the repository's fault
            found.append(RULES["C01"].at(Place(str(root)), error.message, mend=error.next_step or _NAME))
            continue
        if (fault := _unreadable(root, path)) is not None:
            found.append(fault)
        else:
            repositories.append(Repository(path, options.model_config_name))
    context = _context(repositories, options, server, gpus, frozenset(built))
    found += _run(context)
    found += lost_ensembles(found, context)
    return sorted(found, key=lambda each: (each.place.path, each.place.line or 0, each.rule))


def _context(
    repositories: list[Repository],
    options: ServerOptions,
    server: ServerInstallation | None,
    gpus: int,
    built: frozenset[str],
) -> Context:
    backends = options.backend_directory or (server.backends if server else None)
    fields = server_fields(server.library) if server and server.library else None
    return Context(
        repositories,
        options,
        [
            model
            for repository in repositories
            if not repository.looks_like_a_model and not repository.repositories
            for model in repository.models
        ],
        None if backends is None else Path(backends),
        Path(options.repoagent_directory or _AGENTS) if server or options.repoagent_directory else None,
        _version(server),
        fields,
        gpus,
        built,
    )


def _version(server: ServerInstallation | None) -> tuple[int, int] | None:
    parts = (server.version or "").split(".") if server else []
    return (int(parts[0]), int(parts[1])) if len(parts) > 1 and all(map(str.isdigit, parts[:2])) else None


def _run(context: Context) -> Iterator[Finding]:
    for rule in RULES.values():
        for check_all in rule.checks_all:
            yield from check_all(rule, context)
    for model in context.models:
        for rule in RULES.values():
            for check_one in rule.checks:
                yield from check_one(rule, model, context)


def exit_status(findings: Sequence[Finding]) -> int:
    """Give 0 for a sound repository, 1 for warnings, 2 for errors."""
    return max((_STATUS[each.severity] for each in findings), default=0)


def mend(findings: Sequence[Finding]) -> list[Fix]:
    """Do what mends change nothing but what is wrong, and give them."""
    fixes = [each.fix for each in findings if each.fix is not None]
    for fix in fixes:
        fix.apply()
    return fixes


def _unreadable(root: Any, path: Any) -> Finding | None:
    place = Place(str(root))
    try:
        if path.is_dir():
            next(iter(path.iterdir()), None)
            return None
    except OSError as error:
        return RULES["C01"].at(
            place,
            f"the model repository cannot be read: {error.strerror}",
            says="failed to stat file",
            mend="let the server's user read it",
        )
    if path.exists():
        what, says, mend = "is a file, and no folder", None, _NAME
        if path.name == CONFIG:
            mend = f"name the folder that holds the model's: {parent_of(path.parent)}"
    else:
        what, says, mend = "is not there", f"failed to stat file {root}", _meant(root, path)
    return RULES["C01"].at(
        place,
        f"the model repository {what}",
        says="repository path is not a valid directory" if is_uri(root) else says,
        mend=mend,
    )


def _meant(root: Any, path: Any) -> str:
    if uri := meant(str(root)):
        return f"write {uri}"
    if is_uri(root):
        return _NAME
    try:
        beside = [name for name, is_folder in entries(path.parent).items() if is_folder]
    except OSError:
        return f"{path.parent.absolute()} is not there either; {_NAME}"
    close = closest(path.name, beside)
    return f"did you mean {path.parent / close}?" if close else f"{_NAME}; you are in {Path.cwd()}"
