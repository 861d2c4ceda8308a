"""Which names a metric and its labels may have."""

from __future__ import annotations

import re
from collections.abc import Mapping

from triton_backend_sdk.errors import InternalError

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")
#: Of Triton's own metrics: a family of that name would be merged with them.
_TRITONS = "nv_"
#: Those that there are.
_TRITONS_OWN = re.compile(
    r"nv_inference_(request_success|request_failure|count|exec_count|pending_request_count"
    r"|first_response_histogram_ms|\w+_(duration|summary)_us)"
    r"|nv_(gpu|cpu)_(utilization|memory_(total|used)_bytes)|nv_gpu_power_(usage|limit)|nv_energy_consumption"
    r"|nv_pinned_memory_pool_(total|used)_bytes|nv_cache_\w+_per_model|nv_model_load_duration_secs"
)


def check_names(name: str, labels: Mapping[str, str], *, strict: bool) -> None:
    """Refuse what Prometheus does not take, or is Triton's.

    :param strict: refuse all that begins with ``nv_``, not only what Triton has; otherwise Triton itself says
        which names there cannot be.
    :raises InternalError: a name is wrong, or it or a label holds a NUL.
    """
    if "\0" in name or (strict and not _NAME.fullmatch(name)):
        raise InternalError(f"metric '{name}': a name has letters, digits, _ and :, and no digit first")
    if (strict and name.startswith(_TRITONS)) or _TRITONS_OWN.fullmatch(name):
        raise InternalError(f"metric '{name}': names that begin with {_TRITONS} are Triton's own")
    for label, value in labels.items():
        if strict and (not _LABEL.fullmatch(label) or label == "le"):
            raise InternalError(
                f"metric '{name}': '{label}' is no name for a label; use letters, digits and _"
            )
        if "\0" in label or "\0" in value:
            raise InternalError(f"metric '{name}': the label {label}={value!r} holds a NUL")
