"""Findings for programs: as JSON, and as SARIF 2.1.0 for what shows findings beside code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from triton_backend_sdk._version import __version__
from triton_backend_sdk.tools.check.finding import Finding
from triton_backend_sdk.tools.check.rules import Rule

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def as_dict(finding: Finding) -> dict[str, Any]:
    """Give a finding as plain values."""
    return {
        "rule": finding.rule,
        "severity": finding.severity,
        "model": finding.model,
        "file": finding.place.path,
        "line": finding.place.line,
        "column": finding.place.column,
        "message": finding.message,
        "server_says": finding.server_says,
        "mend": finding.mend,
        "fix": None if finding.fix is None else finding.fix.does,
    }


def sarif(findings: Sequence[Finding], rules: Mapping[str, Rule]) -> dict[str, Any]:
    """Give findings as a SARIF log of one run."""
    driver = {
        "name": "tbsdk check",
        "version": __version__,
        "rules": [_rule(rule) for rule in rules.values()],
    }
    order = list(rules)
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_result(finding, order) for finding in findings],
    }
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "shortDescription": {"text": rule.summary},
        "defaultConfiguration": {"level": rule.severity},
    }


def _result(finding: Finding, order: list[str]) -> dict[str, Any]:
    parts = [finding.message]
    if finding.server_says:
        parts.append(f'Triton would say: "{finding.server_says}"')
    if finding.mend:
        parts.append(f"Mend: {finding.mend}")
    column = {"startColumn": finding.place.column} if finding.place.column else {}
    place = {
        "artifactLocation": _artifact(finding.place.path),
        # GitHub shows no finding without a line.
        "region": {"startLine": finding.place.line or 1, **column},
    }
    return {
        "ruleId": finding.rule,
        "ruleIndex": order.index(finding.rule),
        "level": finding.severity,
        "message": {"text": "\n".join(parts)},
        "locations": [{"physicalLocation": place}],
    }


def _artifact(path: str) -> dict[str, str]:
    if "://" in path:
        return {"uri": path}
    absolute = Path(path).absolute()
    if absolute.is_relative_to(Path.cwd()):
        # What shows SARIF takes these from the root of the sources.
        relative = quote(absolute.relative_to(Path.cwd()).as_posix(), errors="surrogateescape")
        return {"uri": relative, "uriBaseId": "%SRCROOT%"}
    return {"uri": absolute.as_uri()}
