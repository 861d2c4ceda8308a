"""What `tbsdk doctor` finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    name: str
    #: "fail" is a lack that stops the main job, "warn" one that some feature needs.
    verdict: Verdict
    #: What was found, and where it was looked for.
    detail: str
    #: What to type, where something is lacking.
    mend: str | None = None
