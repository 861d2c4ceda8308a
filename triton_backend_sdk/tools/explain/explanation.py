"""From a log to what went wrong: findings in the order of cause and effect."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from triton_backend_sdk.tools.explain.causes import Cause, Severity, causes
from triton_backend_sdk.tools.explain.records import Log, Record

#: What a server writes before it opens its repositories.
_BEGINNING = re.compile(r"[Pp]inned (?:system )?memory|CUDA memory pool|CudaDriverHelper")
#: The first server that completes configs without being told to.
_COMPLETES = (2, 24)
_ORDER: dict[Severity, int] = {"error": 0, "warning": 1, "note": 2}
_AROUND = 2
_LONG = 400


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
    model: str | None = None
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
            if record.line not in first.lines:
                first.lines.append(record.line)
            first.model = first.model or record.model
    kept = _without_repeats(_without_hidden(list(found.values())))
    roots = [finding for cause, finding in kept if cause is None or not cause.follows]
    roots += [*_unfinished(log), *_hardly_begun(log)]
    at_errors = {line for finding in roots if finding.severity == "error" for line in finding.lines}
    roots.sort(
        key=lambda each: (_ORDER[each.severity], each.id == "unknown", at_errors.isdisjoint(each.lines))
    )
    led_to = [finding for cause, finding in kept if cause is not None and cause.follows]
    if not any(finding.severity == "error" for finding in roots):
        # What follows from nothing that the log tells is all that it tells.
        roots = [each for each in led_to if each.severity == "error"] + roots
        led_to = [each for each in led_to if each.severity != "error"]
    version, repository = log.options.get("server_version"), log.options.get("model_repository_path[0]")
    return Explanation(roots, led_to, version, repository)


def _of_record(record: Record, log: Log) -> Iterator[tuple[Cause | None, Finding]]:
    known = False
    for cause in causes():
        if record.level == "I" and not cause.info and not cause.follows:
            continue
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
        first, last = max(1, record.line - _AROUND), min(len(log.lines), record.line + _AROUND)
        around = [(number, log.lines[number - 1].rstrip()) for number in range(first, last + 1)]
        yield (
            None,
            Finding(
                "unknown", "error", _short(record.reason), model=record.model, said=record.text, around=around
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
    return Finding(
        cause.id,
        cause.severity,
        cause.what.format_map(values),
        cause.why and cause.why.format_map(values),
        tuple(step.format_map(values) for step in cause.do),
        cause.rule,
        record.model or groups.get("name"),
        said=record.text,
        at=_place(record.text),
    )


def _place(text: str) -> str | None:
    """Give where Python raised: the innermost frame is the stock backend's first, and a traceback's last."""
    found = re.search(r"\bAt:\n\s*(\S[^\n]*)", text)
    if found:
        return found[1]
    # the frame of a syntax error is in no function
    frames = re.findall(r'File "([^"]+)", line (\d+)(?:, in (\S+))?', text)
    return "{}({}): {}".format(*frames[-1]).removesuffix(": ") if frames else None


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
    """Leave out what is said again, without the model, of a finding with its model."""
    told = [(finding.id, finding.said) for _, finding in found if finding.model]
    return [
        pair
        for pair in found
        if pair[1].model or not any(pair[1].id == name and pair[1].said in said for name, said in told)
    ]


def _unfinished(log: Log) -> Iterator[Finding]:
    for (model, version), line in log.pending.items():
        yield Finding(
            "load-unfinished",
            "warning",
            f"the load of '{model}' version {version} began and did not end before the log does",
            "It takes long, or it hangs. The stock Python backend of some servers (2.51) waits for ever "
            "where its stub cannot start, or model.py is not there or ends its process.",
            (
                "look at the lines after it: what do the stub or the model write?",
                "tbsdk doctor looks at the stub's libraries, tbsdk check REPOSITORY at the model's file",
            ),
            model=model,
            lines=[line],
            said=f"loading: {model}:{version}",
        )


def _hardly_begun(log: Log) -> Iterator[Finding]:
    """Tell of a server that is silent since it wanted to open its repository."""
    if not log.records or not all(record.level and _BEGINNING.search(record.text) for record in log.records):
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
        lines=[log.records[-1].line],
        said=log.records[-1].text,
    )
