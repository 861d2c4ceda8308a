"""What a server says of its models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


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
    rows: Iterable[Mapping[str, str]], failures: Sequence[str], wanted: Iterable[str] = ()
) -> list[ModelStatus]:
    """Read the repository index.

    :param failures: what the log says of models that failed.
    :param wanted: models that were asked for; the index is silent about those that do not exist.
    """
    found = [_model_status(row, failures) for row in rows]
    names = {status.name for status in found}
    lost = [name for name in wanted if name not in (*names, "*")]
    return found + [ModelStatus(name, "", "", "no model repository has it") for name in lost]


def _model_status(row: Mapping[str, str], failures: Sequence[str]) -> ModelStatus:
    name, reason = row["name"], row.get("reason", "")
    if not row.get("state"):
        # A config.pbtxt that cannot be read leaves its reason in the log only.
        start = f"Poll failed for model directory '{name}': "
        reason = next((text.removeprefix(start) for text in failures if text.startswith(start)), reason)
    return ModelStatus(name, row.get("version", ""), row.get("state", ""), reason)
