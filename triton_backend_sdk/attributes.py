"""What Triton asks of a backend before any model.

The answers are [tool.tbsdk] of pyproject.toml, which ``tbsdk build`` copies into tbsdk.conf: Triton asks
under a lock of its own, when no plugin has been imported yet.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from triton_backend_sdk._ffi.api import Api
from triton_backend_sdk.enums import ExecutionPolicy
from triton_backend_sdk.errors import InvalidArgError
from triton_backend_sdk.specs import kind_of


def read_settings(directory: Path) -> dict[str, str]:
    """Give the lines of a backend directory's tbsdk.conf."""
    lines = (directory / "tbsdk.conf").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def set_policy(api: Api, backend: Any, settings: dict[str, str]) -> None:
    """See TRITONBACKEND_BackendSetExecutionPolicy; Triton's default stays where nothing is set.

    :raises InvalidArgError: there is no such policy: somebody changed what ``tbsdk build`` wrote.
    """
    name = settings.get("execution-policy")
    if name is not None:
        policy = ExecutionPolicy.__members__.get(name.upper().replace("-", "_"))
        if policy is None:
            raise InvalidArgError(f"tbsdk.conf has execution-policy={name}; build again: tbsdk build")
        api.check(api.lib.TRITONBACKEND_BackendSetExecutionPolicy(backend, policy))


def fill(api: Api, attributes: Any, settings: dict[str, str]) -> None:
    """See TRITONBACKEND_GetBackendAttribute."""
    lib = api.lib
    if "parallel-instance-loading" in settings:
        enabled = settings["parallel-instance-loading"] == "true"
        api.check(lib.TRITONBACKEND_BackendAttributeSetParallelModelInstanceLoading(attributes, enabled))
    for group in json.loads(settings.get("preferred-instance-groups", "[]")):
        gpus = api.ffi.new("uint64_t[]", group["gpus"])
        kind = int(kind_of(group["kind"]))
        api.check(
            lib.TRITONBACKEND_BackendAttributeAddPreferredInstanceGroup(
                attributes, kind, group["count"], gpus, len(gpus)
            )
        )
