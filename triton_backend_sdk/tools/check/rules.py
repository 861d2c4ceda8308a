"""The rules: functions that look at one model, or at all, and yield what they find."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from triton_backend_sdk.tools.check.completed import Completed, complete
from triton_backend_sdk.tools.check.finding import Finding, Fix, Place, Severity
from triton_backend_sdk.tools.check.repository import ModelDirectory, Repository
from triton_backend_sdk.tools.server_options.options import ServerOptions

#: When the server would notice: when it reads the repository; when it loads the model; at every request; or
#: never by itself. "tensors": when it reads the repository if configs are taken as they are, else at load.
Phase = Literal["poll", "tensors", "load", "request", "ours"]


@dataclass(eq=False)
class Context:
    """What a rule may look at beside the model: the other models, the options, the machine."""

    repositories: Sequence[Repository]
    options: ServerOptions
    models: Sequence[ModelDirectory]
    #: The folder of backends that the server would use; None: nobody knows.
    backends: Path | None = None
    #: The folder of repository agents that it would use; None: nobody knows.
    agents: Path | None = None
    #: The server's version as (2, 51); None: nobody knows, and it is taken for today's.
    server_version: tuple[int, int] | None = None
    #: The fields of each message of config.pbtxt that the server knows; None: nobody knows.
    server_fields: dict[str, set[str]] | None = None
    gpus: int = 0
    #: Backends that will be there.
    built: frozenset[str] = frozenset()
    by_name: dict[str, list[ModelDirectory]] = field(init=False)
    #: Models that lead to no ensembles of each other, as far as somebody looked.
    without_cycle: set[ModelDirectory] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        self.by_name = {}
        for model in self.models:
            self.by_name.setdefault(model.name, []).append(model)
        self._completed: dict[ModelDirectory, Completed | None] = {}

    @property
    def strict(self) -> bool:
        """Whether configs are taken as they are written."""
        return bool(self.options.disable_auto_complete_config)

    def is_before(self, *version: int) -> bool:
        """Tell whether the server is known to be older than a version."""
        return self.server_version is not None and self.server_version < version

    def completed(self, model: ModelDirectory) -> Completed | None:
        """Give a model's backend, platform and file as Triton completes them; None where it cannot."""
        if model not in self._completed:
            self._completed[model] = complete(model, before_aoti=self.is_before(2, 65))
        return self._completed[model]


Check = Callable[["Rule", ModelDirectory, Context], Iterator[Finding]]
CheckAll = Callable[["Rule", Context], Iterator[Finding]]


@dataclass(frozen=True)
class Rule:
    """A rule."""

    id: str
    summary: str
    severity: Severity
    phase: Phase
    checks: list[Check] = field(default_factory=list)
    checks_all: list[CheckAll] = field(default_factory=list)

    def at(
        self,
        place: Place,
        message: str,
        *,
        mend: str,
        model: ModelDirectory | None = None,
        says: str | None = None,
        fix: Fix | None = None,
        severity: Severity | None = None,
    ) -> Finding:
        """Make a finding of this rule."""
        name = None if model is None else model.name
        return Finding(self.id, severity or self.severity, place, message, mend, says, name, fix)

    def of(
        self,
        model: ModelDirectory,
        path: tuple[str | int, ...],
        message: str,
        *,
        mend: str,
        says: str | None = None,
        severity: Severity | None = None,
    ) -> Finding:
        """Make a finding about a field of a model's config."""
        place = model.config.place(*path)
        return self.at(place, message, model=model, says=says, mend=mend, severity=severity)


#: All rules, by id; filled by the modules ``rules_*``.
RULES: dict[str, Rule] = {}


def closest(name: str, names: Iterable[str]) -> str | None:
    """Give the name that was meant by a misspelt one."""
    return next(iter(difflib.get_close_matches(name, list(names), n=1)), None)


def declare(name: str, summary: str, severity: Severity = "error", phase: Phase = "poll") -> Rule:
    """Declare a rule; functions are added to it with the decorators below."""
    RULES[name] = Rule(name, summary, severity, phase)
    return RULES[name]


def config_rule(made: Rule) -> Callable[[Check], Check]:
    """Add a function that is called for each model whose config can be read, or is completed from nothing."""

    def register(function: Check) -> Check:
        def check(rule: Rule, model: ModelDirectory, context: Context) -> Iterator[Finding]:
            if model.message is not None and (model.has_config or not context.strict):
                yield from function(rule, model, context)

        made.checks.append(check)
        return function

    return register


def folder_rule(made: Rule) -> Callable[[Check], Check]:
    """Add a function that is called for every model, with a config or without."""

    def register(function: Check) -> Check:
        made.checks.append(function)
        return function

    return register


def repository_rule(made: Rule) -> Callable[[CheckAll], CheckAll]:
    """Add a function that is called once, for all repositories together."""

    def register(function: CheckAll) -> CheckAll:
        made.checks_all.append(function)
        return function

    return register
