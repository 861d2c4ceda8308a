"""What a server says of its models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from triton_backend_sdk.tools.server_errors import ModelFailure


@dataclass(frozen=True)
class ModelStatus:
    """A row of the repository index."""

    name: str
    version: str
    #: READY, LOADING, UNLOADING, UNAVAILABLE; empty for a model that was never asked for or cannot be read.
    state: str
    #: Why it is unavailable, in Triton's words.
    reason: str


def statuses(
    rows: Iterable[Mapping[str, str]], failures: Sequence[ModelFailure], wanted: Iterable[str] = ()
) -> list[ModelStatus]:
    """Read the repository index.

    :param failures: what the log says of models that failed, the last of a model last.
    :param wanted: models that were asked for; the index is silent about those that do not exist.
    """
    # What comes to no version, such as a config.pbtxt that cannot be read, leaves its reason in the log only.
    reasons = {failure.name: failure.reason for failure in failures if failure.version is None}
    found = [_model_status(row, reasons) for row in rows]
    names = {status.name for status in found}
    lost = dict.fromkeys(name for name in wanted if name not in (*names, "*"))
    return found + [
        ModelStatus(name, "", "", reasons.get(name, "no model repository has it")) for name in lost
    ]


def _model_status(row: Mapping[str, str], reasons: Mapping[str, str]) -> ModelStatus:
    name, state, reason = row["name"], row.get("state", ""), row.get("reason", "")
    return ModelStatus(name, row.get("version", ""), state, reason if state else reasons.get(name, reason))
