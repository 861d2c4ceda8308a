"""From a log to what went wrong: findings in the order of cause and effect."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from triton_backend_sdk.tools.explain.causes import Cause, Severity, candidates
from triton_backend_sdk.tools.explain.records import Log, Record

#: The first server that completes configs without being told to.
_COMPLETES = (2, 24)
_ORDER: dict[Severity, int] = {"error": 0, "warning": 1, "note": 2}
_LONG = 400
#: Of the code of others; an author seeks the fault in their own first.
_LIBRARY = re.compile(
    r"/(?:site|dist)-packages/|/lib/python\d|/_sdk/triton_backend_sdk/|^<frozen|^<__array_function__"
)
#: A stopping server counts down what it waits for.
_WAITS = re.compile(r"^Timeout \d+: Found (?P<what>[1-9]\d* .+)$")


@dataclass
class Finding:
    """One thing that the log tells."""

    #: As in causes.toml; "unknown" for an error that is not there; load-unfinished, start-unfinished.
    id: str
    severity: Severity
    what: str
    why: str | None = None
    do: tuple[str, ...] = ()
    #: The rule of `tbsdk check` that tells it before a start.
    rule: str | None = None
    #: Those of which it is said.
    models: list[str] = field(default_factory=list)
    #: Models without which these cannot be.
    needs: list[str] = field(default_factory=list)
    #: Where it is said, from 1.
    lines: list[int] = field(default_factory=list)
    #: In the server's words.
    said: str = ""
    #: The place in Python code, where it tells one.
    at: str | None = None
    #: Of an unknown error: the lines around it, with their numbers.
    around: list[tuple[int, str]] = field(default_factory=list)


@dataclass
class Explanation:
    """What a log tells."""

    #: Roots before what is less; in the log's order otherwise.
    findings: list[Finding]
    #: What only followed from them.
    led_to: list[Finding]
    #: The server's version, where the log has it.
    server_version: str | None = None
    repository: str | None = None
    #: How many messages were not looked at, since there were too many.
    passed_over: int = 0

    @property
    def is_fine(self) -> bool:
        """Whether nothing is wrong; notes do not count."""
        return all(finding.severity == "note" for finding in self.findings)


def explain(log: Log) -> Explanation:
    """Say what went wrong."""
    found: dict[tuple[str, str], tuple[Cause | None, Finding]] = {}
    for record in log.records:
        for cause, finding in _of_record(record, log):
            first = found.setdefault((finding.id, finding.what), (cause, finding))[1]
            first.lines += [line for line in record.lines if line not in first.lines[-1:]]
            first.models += [model for model in finding.models if model not in first.models]
    kept = _without_repeats(_without_hidden(list(found.values())))
    errors = {name for _, finding in kept if finding.severity == "error" for name in finding.models}
    led_to = [
        finding
        for cause, finding in kept
        if cause is not None and cause.follows and (not finding.needs or errors.intersection(finding.needs))
    ]
    roots = [finding for _, finding in kept if finding not in led_to]
    roots += [*_unfinished(log), *_hardly_begun(log), *_waiting(log)]
    at_errors = {line for finding in roots if finding.severity == "error" for line in finding.lines}
    roots.sort(
        key=lambda each: (_ORDER[each.severity], each.id == "unknown", at_errors.isdisjoint(each.lines))
    )
    if not any(finding.severity == "error" for finding in roots):
        # What follows from nothing that the log tells is all that it tells.
        roots = [each for each in led_to if each.severity == "error"] + roots
        led_to = [each for each in led_to if each.severity != "error"]
    version, repository = log.options.get("server_version"), log.options.get("model_repository_path[0]")
    return Explanation(roots, led_to, version, repository, log.passed_over)


def tells_something(record: Record) -> bool:
    """Tell whether `explain` has to see a message."""
    return record.is_error or any(
        cause.match(record.text) is not None for cause in candidates(record.text, record.level)
    )


def _of_record(record: Record, log: Log) -> Iterator[tuple[Cause | None, Finding]]:
    known = False
    for cause in candidates(record.text, record.level):
        if cause.only is not None and not _holds(cause.only, log):
            continue
        groups = cause.match(record.text)
        if groups is None:
            continue
        known = True
        yield cause, _finding(cause, record, log, groups)
        if not cause.also:
            return
    if not known and record.is_error:
        yield (
            None,
            Finding(
                "unknown",
                "error",
                _short(record.reason),
                models=[record.model] if record.model else [],
                said=record.text,
                around=record.around,
            ),
        )


def _holds(what: str, log: Log) -> bool:
    if what == "strict":
        return log.is_strict
    return log.version is not None and log.version < _COMPLETES


def _finding(cause: Cause, record: Record, log: Log, groups: Mapping[str, str]) -> Finding:
    values = _Values(
        text=_short(record.reason),
        model=record.model or "the model",
        server=log.options.get("server_version", "of unknown version"),
        repository=log.options.get("model_repository_path[0]", "REPOSITORY"),
    )
    values.update(groups)
    model = record.model or groups.get("name")
    return Finding(
        cause.id,
        cause.severity,
        cause.what.format_map(values),
        cause.why and cause.why.format_map(values),
        tuple(step.format_map(values) for step in cause.do),
        cause.rule,
        [model] if model else [],
        groups["members"].split(", ") if "members" in groups else [],
        said=record.text,
        at=_place(record.text),
    )


def _place(text: str) -> str | None:
    """Give where the author's code raised: the innermost is the stock backend's first, a traceback's last."""
    _, at, stack = text.partition("\nAt:\n")
    if at:
        frames = [line.strip() for line in stack.split("\n") if line.strip()]
    else:
        found = re.findall(r'File "([^"]+)", line (\d+)(?:, in (\S+))?', text)
        frames = [f"{file}({line})" + (f": {name}" if name else "") for file, line, name in found[::-1]]
    own = [frame for frame in frames if not _LIBRARY.search(frame)]
    return own[0] if own else None


class _Values(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return "?"


def _short(text: str) -> str:
    """Give the first line that says something, without Triton's own frills."""
    line = next((line.strip() for line in text.split("\n") if line.strip()), "")
    return line if len(line) <= _LONG else f"{line[:_LONG]} ..."


def _without_hidden(found: Sequence[tuple[Cause | None, Finding]]) -> list[tuple[Cause | None, Finding]]:
    hidden = {name for cause, _ in found if cause is not None for name in cause.hides}
    return [pair for pair in found if pair[1].id not in hidden]


def _without_repeats(found: Sequence[tuple[Cause | None, Finding]]) -> list[tuple[Cause | None, Finding]]:
    """Leave out what is said again with less: without the model, or without what made it known."""
    told = [finding for cause, finding in found if finding.models and cause is not None]
    return [pair for pair in found if not any(_says_more(finding, pair[1]) for finding in told)]


def _says_more(finding: Finding, other: Finding) -> bool:
    if other.id == "unknown" and other.models:
        return set(other.models) <= set(finding.models) and other.what in finding.said
    return not other.models and other.id == finding.id and other.said in finding.said


def _unfinished(log: Log) -> Iterator[Finding]:
    for (model, version), line in log.pending.items():
        yield Finding(
            "load-unfinished",
            "warning",
            f"the load of '{model}' version {version} began and did not end before the log does",
            "The server was ended there, it takes long, or it hangs. The stock Python backend of some "
            "servers (2.51) waits for ever where its stub cannot start, or model.py is not there or ends "
            "its process.",
            (
                "what was its exit status (docker inspect, kubectl describe pod)? 139 and 135 are crashes "
                "in native code, 134 is an abort, 137 is often too little memory",
                "look at the lines after it: what do the stub or the model write?",
                "tbsdk doctor looks at the stub's libraries, tbsdk check REPOSITORY at the model's file",
            ),
            models=[model],
            lines=[line],
            said=f"loading: {model}:{version}",
        )


def _hardly_begun(log: Log) -> Iterator[Finding]:
    """Tell of a server that is silent since it wanted to open its repository."""
    if log.last is None or not log.hardly_begun:
        return
    yield Finding(
        "start-unfinished",
        "warning",
        "the log ends where the server opens its model repository",
        "A bucket that does not answer is the usual reason: for S3 and Google Cloud Storage the server waits "
        "for minutes without a word. A network file system does the same.",
        (
            "look at the network, the credentials and the endpoint in the URI",
            "tbsdk serve looks at a bucket first, and gives up after seconds; tbsdk check s3://... reads it",
        ),
        lines=log.last.lines,
        said=log.last.text,
    )


def _waiting(log: Log) -> Iterator[Finding]:
    """Tell of a server that was to stop, and had not when the log ended."""
    waits = _WAITS.match(log.last.text) if log.last is not None else None
    if log.last is None or waits is None:
        return
    yield Finding(
        "stop-unfinished",
        "warning",
        f"the server was to stop, and the log ends while it waits: {waits['what']}",
        "Something does not come to its end: a request, a client that stays connected, or a model, such as "
        "one of Python whose process died or hangs. Docker kills after 10 seconds, Kubernetes after 30.",
        (
            "look at what the models' finalize and their last requests do",
            "--exit-timeout-secs=N is how long it waits; docker stop -t N, terminationGracePeriodSeconds",
        ),
        lines=log.last.lines,
        said=log.last.text,
    )
