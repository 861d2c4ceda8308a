"""C24, C38: instance groups, and the resources that they wait for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from triton_backend_sdk.tools.check.data import enum_name
from triton_backend_sdk.tools.check.finding import Finding
from triton_backend_sdk.tools.check.repository import ModelDirectory
from triton_backend_sdk.tools.check.rules import Context, Rule, config_rule, declare, repository_rule

C24 = declare("C24", "an instance group that this machine cannot give", phase="load")
C38 = declare("C38", "rate limiter resources that do not fit", "warning", "load")


@config_rule(C24)
def check_groups(self: Rule, model: ModelDirectory, context: Context) -> Iterator[Finding]:
    """Kinds and the GPUs that they name."""
    message = model.message
    if message.HasField("ensemble_scheduling"):
        return  # C29 speaks of it
    completed = context.completed(model)
    platform = "" if completed is None else completed.platform
    for index, group in enumerate(message.instance_group):
        start = f"instance group {group.name or f'{model.name}_{index}'} of model {model.name} "
        for field, said, mend in _group_faults(group, context.gpus):
            yield self.of(model, ("instance_group", index, field), start + said, says=start + said, mend=mend)
        if group.profile and platform != "tensorrt_plan":
            yield self.of(
                model,
                ("instance_group", index, "profile"),
                f"{start}names a profile, which only TensorRT has",
                says="specifies profile field which is only supported for TensorRT models",
                mend="leave profile out",
            )


def _group_faults(group: Any, gpus: int) -> Iterator[tuple[str, str, str]]:
    kind = enum_name(group, "kind")
    strange = [gpu for gpu in group.gpus if not 0 <= gpu < gpus]
    if kind == "KIND_AUTO":
        kind = "KIND_CPU" if not gpus or strange else "KIND_GPU"
    if kind == "KIND_GPU" and not group.gpus and not gpus:
        mend = "kind: KIND_CPU, or leave it out; tbsdk check --gpus 1 where the server has one"
        yield "kind", "has kind KIND_GPU but no GPUs are available", mend
    if kind == "KIND_GPU" and strange:
        there = f"0 to {gpus - 1}" if gpus else "none"
        yield (
            "gpus",
            f"specifies invalid or unsupported gpu id {strange[0]}",
            f"this machine has {gpus} GPUs: {there}",
        )
    if kind.isdigit():
        yield "kind", "has unexpected kind KIND_AUTO", "KIND_AUTO, KIND_CPU, KIND_GPU or KIND_MODEL"
    if kind in ("KIND_CPU", "KIND_MODEL") and group.gpus:
        yield "gpus", f"has kind {kind} but specifies one or more GPUs", "leave gpus out"


@repository_rule(C38)
def check_resources(self: Rule, context: Context) -> Iterator[Finding]:
    """Compare resources of all models: their names are of the whole server."""
    limited = context.options.rate_limit == "execution_count"
    severity: Any = "error" if limited else "warning"
    kinds: dict[str, bool] = {}
    for model in context.models:
        if model.message is None:
            continue
        for index, group in enumerate(model.message.instance_group):
            path = ("instance_group", index, "rate_limiter", "resources")
            for number, resource in enumerate(group.rate_limiter.resources):
                name = resource.name
                if kinds.setdefault(name, getattr(resource, "global")) != getattr(resource, "global"):
                    yield self.of(
                        model,
                        (*path, number),
                        f"resource '{name}' is global in one place and of a device in another",
                        says=f'Resource "{name}" is present as both global and device-specific resource',
                        mend="give one of them another name",
                        severity=severity,
                    )
                there = _given(context.options.rate_limit_resource, name)
                if there is not None and resource.count > there:
                    yield self.of(
                        model,
                        (*path, number, "count"),
                        f"an instance needs {resource.count} of resource '{name}', but the server has "
                        f"{there}",
                        says=f'Resource count for "{name}" is limited to {there}',
                        mend=f"--rate-limit-resource={name}:{resource.count}",
                        severity=severity,
                    )


def _given(resources: Any, name: str) -> int | None:
    """Give how much of a resource a server has; None where the models themselves say how much there is."""
    if not resources:
        return None
    found = resources.get(name, 0)
    return max(found.values(), default=0) if hasattr(found, "values") else int(found)
