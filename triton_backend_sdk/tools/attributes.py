"""What [tool.tbsdk] of a pyproject.toml tells Triton of the backend, checked, as lines of tbsdk.conf."""

from __future__ import annotations

import difflib
import json
from typing import Any

from triton_backend_sdk.batching import LIMITS
from triton_backend_sdk.enums import ExecutionPolicy, InstanceGroupKind
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.project import Project

POLICIES = tuple(policy.name.lower().replace("_", "-") for policy in ExecutionPolicy)
KINDS = tuple(kind.name.lower() for kind in InstanceGroupKind)
#: Every key that the table may have; those that end up in tbsdk.conf have a function below.
KEYS = ("backend", "batcher", "execution-policy", "parallel-instance-loading", "preferred-instance-groups")
_GROUP_KEYS = ("kind", "count", "gpus")


def backend_settings(project: Project) -> dict[str, str]:
    """Give the settings of a project's backend, as text.

    :raises HandledError: names the key, what it has and what it can have.
    """
    for key in project.settings:
        if key not in KEYS:
            close = difflib.get_close_matches(key, KEYS, n=1)
            meant = f"; did you mean {close[0]}?" if close else ""
            raise _wrong(project, f"has no key {key!r}: there are {', '.join(KEYS)}{meant}")
    readers = {
        "execution-policy": _policy,
        "parallel-instance-loading": _parallel,
        "preferred-instance-groups": _groups,
    }
    return {
        key: read(project, project.settings[key]) for key, read in readers.items() if key in project.settings
    }


def wants_batcher(project: Project) -> bool:
    """Tell whether Triton shall find the backend's batcher: ``batcher``, or what the project's files say.

    They say so where the package has the hook that decides, or it or a model's config names a limit.

    :raises HandledError: ``batcher`` is no boolean.
    """
    wanted = project.settings.get("batcher")
    if wanted is None:
        sources = [(path, ("def batch_include(", *LIMITS)) for path in project.package.rglob("*.py")]
        configs = [(path, LIMITS) for path in project.model_repository.glob("*/config.pbtxt")]
        return any(
            word in path.read_text(encoding="utf-8", errors="replace")
            for path, words in (*sources, *configs)
            for word in words
        )
    if not isinstance(wanted, bool):
        raise _wrong(project, f"batcher is {wanted!r}; it can be true or false")
    return wanted


def _policy(project: Project, value: Any) -> str:
    if value not in POLICIES:
        raise _wrong(project, f"execution-policy is {value!r}; it can be {_words(POLICIES)}")
    return str(value)


def _parallel(project: Project, value: Any) -> str:
    if not isinstance(value, bool):
        raise _wrong(project, f"parallel-instance-loading is {value!r}; it can be true or false")
    return str(value).lower()


def _groups(project: Project, value: Any) -> str:
    if not isinstance(value, list) or not all(isinstance(group, dict) for group in value):
        raise _wrong(project, f'preferred-instance-groups is {value!r}; write [{{ kind = "cpu" }}]')
    return json.dumps([_group(project, group) for group in value])


def _group(project: Project, group: dict[str, Any]) -> dict[str, Any]:
    place = "preferred-instance-groups"
    for key in group:
        if key not in _GROUP_KEYS:
            raise _wrong(project, f"{place} has no key {key!r}: there are {', '.join(_GROUP_KEYS)}")
    kind, count, gpus = group.get("kind"), group.get("count", 1), group.get("gpus", [])
    if kind not in KINDS:
        raise _wrong(project, f"{place} has kind {kind!r}; it can be {_words(KINDS)}")
    if not _is_number(count, least=1):
        raise _wrong(project, f"{place} has count {count!r}; it can be 1 or more")
    if not isinstance(gpus, list) or not all(_is_number(gpu, least=0) for gpu in gpus):
        raise _wrong(project, f"{place} has gpus {gpus!r}; it can be a list of device numbers")
    return {"kind": kind, "count": count, "gpus": gpus}


def _is_number(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _words(names: tuple[str, ...]) -> str:
    return ", ".join(names[:-1]) + f" or {names[-1]}"


def _wrong(project: Project, what: str) -> HandledError:
    file = project.root / "pyproject.toml"
    return HandledError(f"[tool.tbsdk] {what}", f"mend {file}")
