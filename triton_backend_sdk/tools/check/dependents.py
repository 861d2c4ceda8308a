"""What the faults of a model mean for the ensembles that it is a step of."""

from __future__ import annotations

from collections.abc import Sequence

from triton_backend_sdk.tools.check.finding import Finding
from triton_backend_sdk.tools.check.repository import ModelDirectory
from triton_backend_sdk.tools.check.rules import RULES, Context
from triton_backend_sdk.tools.check.rules_ensemble import C30
from triton_backend_sdk.tools.check.rules_members import members

#: How sentences begin that the server says of an ensemble once its models are loaded.
_LATE = ("circular ", "in ensemble ", "ensemble '")


def lost_ensembles(findings: Sequence[Finding], context: Context) -> list[Finding]:
    """Give a finding for each ensemble that only fails because a model of its steps does."""
    broken = {each.model: each for each in reversed(findings) if each.severity == "error" and _stops(each)}
    found: list[Finding] = []
    while more := [each for model in context.models if (each := _lost(model, broken, context))]:
        found += more
        broken.update({each.model: each for each in more})
    return found


def _stops(finding: Finding) -> bool:
    return finding.model is not None and RULES[finding.rule].phase != "request"


def _lost(model: ModelDirectory, broken: dict[str | None, Finding], context: Context) -> Finding | None:
    if model.name in broken or model.message is None:
        return None
    for index, _, member in members(model, context):
        if member is None or member.name not in broken:
            continue
        fault = broken[member.name]
        return C30.of(
            model,
            ("ensemble_scheduling", "step", index, "model_name"),
            f"its model '{member.name}' is not served: {fault.rule} at {fault.place}",
            says=_says(model.name, member.name, fault, context),
            mend=f"mend '{member.name}'",
        )
    return None


def _says(ensemble: str, member: str, fault: Finding, context: Context) -> str:
    phase = RULES[fault.rule].phase
    said = fault.server_says or ""
    late = said.startswith(_LATE) or "contains models that are not available" in said
    if fault.rule == "C31" or (fault.rule == "C30" and late):
        return f"ensemble '{ensemble}' depends on '{member}' which is not valid."
    if phase == "poll" or (phase == "tensors" and context.strict):
        return f"ensemble {ensemble} contains models that are not available or ambiguous: {member}"
    return f"ensemble '{ensemble}' depends on '{member}' which has no loaded version."
