"""C30, C31: an ensemble held against the models of its steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from triton_backend_sdk.tools.check.data import type_name
from triton_backend_sdk.tools.check.finding import Finding
from triton_backend_sdk.tools.check.repository import ModelDirectory
from triton_backend_sdk.tools.check.rules import Context, Rule, closest, config_rule, declare
from triton_backend_sdk.tools.check.rules_ensemble import C30, is_sound_ensemble
from triton_backend_sdk.tools.check.rules_tensors import COMPLETING

C31 = declare("C31", "an ensemble that takes larger batches than its models", phase="load")
_STEP = ("ensemble_scheduling", "step")
_ORIGINS = "receives inputs originated from different decoupled models"
_PAIRS = "let all tensors that meet come of the same decoupled model: such answers do not come in pairs"


@dataclass(frozen=True)
class _Shape:
    """A tensor as a model has it."""

    model: str
    type: str
    dims: tuple[int, ...]
    batching: bool

    @property
    def full(self) -> tuple[int, ...]:
        return (-1, *self.dims) if self.batching else self.dims


def members(model: ModelDirectory, context: Context) -> Iterator[tuple[int, Any, ModelDirectory | None]]:
    """Give the steps of an ensemble and their models; None where there is none, or several."""
    for index, step in enumerate(model.message.ensemble_scheduling.step):
        found = context.by_name.get(step.model_name, [])
        if context.options.model_namespacing and len(found) > 1:
            found = [each for each in found if each.path.parent == model.path.parent]
        yield index, step, found[0] if len(found) == 1 else None


@config_rule(C30)
def check_members(self: Rule, model: ModelDirectory, context: Context) -> Iterator[Finding]:
    """Models that are there, in the version that is asked for."""
    if not is_sound_ensemble(model.message):
        return
    if (cycle := _cycle(model, context)) is not None:
        says = "circular dependency between ensembles: "
        message = f"ensembles of each other: {' -> '.join(cycle)}"
        mend = "let one of them take the steps of the other in its place"
        yield self.of(model, ("ensemble_scheduling",), message, says=says, mend=mend)
        return
    for index, step, member in members(model, context):
        path = (*_STEP, index)
        if member is None:
            several = len(context.by_name.get(step.model_name, ()))
            message = f"there {'are several models' if several else 'is no model'} '{step.model_name}'"
            says = f"ensemble {model.name} contains models that are not available or ambiguous: "
            close = None if several else closest(step.model_name, {*context.by_name} - {model.name})
            mend = f"rename all but one of them, or put '{step.model_name}' into the repository"
            if not several:
                mend = f'model_name: "{close}"?' if close else f"put '{step.model_name}' into the repository"
            yield self.of(model, (*path, "model_name"), message, says=says, mend=mend)
        elif step.model_version != -1 and member.served and step.model_version not in member.served:
            version, given = step.model_version, "" if step.model_version else ", as it says none"
            yield self.of(
                model,
                (*path, "model_version") if version else (*path, "model_name"),
                f"step {index} asks for version {version} of '{step.model_name}'{given}; served: "
                + ", ".join(map(str, member.served)),
                says=f"ensemble '{model.name}' depends on '{step.model_name}' whose required version "
                f"{version} is not loaded.",
                mend="model_version: -1, for the latest",
            )


def _cycle(model: ModelDirectory, context: Context) -> list[str] | None:
    """Give ensembles that lead to each other, where this one leads to such."""
    path: dict[str, Iterator[tuple[int, Any, ModelDirectory | None]]] = {}
    current: ModelDirectory | None = model
    while True:
        if current is not None and current not in context.without_cycle and current.message is not None:
            if current.name in path:
                names = list(path)
                return [*names[names.index(current.name) :], current.name]
            path[current.name] = members(current, context)
        if not path:
            return None
        name, steps = next(reversed(path.items()))
        try:
            current = next(steps)[2]
        except StopIteration:
            del path[name]
            current = None
            context.without_cycle.update(context.by_name[name])


@config_rule(C31)
def check_batches(self: Rule, model: ModelDirectory, context: Context) -> Iterator[Finding]:
    """Models without batches may be in an ensemble with them."""
    largest = model.message.max_batch_size
    for _, step, member in members(model, context):
        size = 0 if member is None or member.message is None else member.message.max_batch_size
        if 0 < size < largest:
            yield self.of(
                model,
                ("max_batch_size",),
                f"the ensemble allows batches of {largest}, but '{step.model_name}' only of {size}",
                says=f"ensemble {model.name} allows maximum batch size {largest}, but it contains model "
                f"{step.model_name} which only allows maximum batch size to be {size}",
                mend=f"max_batch_size: {size}",
            )


@config_rule(C30)
def check_tensors(self: Rule, model: ModelDirectory, context: Context) -> Iterator[Finding]:
    """Every input of a step is mapped, and both ends of a tensor agree."""
    if not is_sound_ensemble(model.message) or _cycle(model, context):
        return
    tensors: dict[str, _Shape] = {}
    batching = model.message.max_batch_size > 0
    for each in (*model.message.input, *model.message.output):
        dims = each.reshape.shape if each.HasField("reshape") else each.dims
        tensors.setdefault(each.name, _Shape(model.name, type_name(each), tuple(dims), batching))
    for index, step, member in members(model, context):
        if member is None or member.message is None:
            continue
        for side in ("input_map", "output_map"):
            path = (*_STEP, index, side)
            if _is_left_open(member, side, context):
                yield _left_open(self, model, path, member, context)
                continue
            for said, says, mend in _mapping_faults(step, member.message, side, tensors):
                yield self.of(model, path, said, says=f"in ensemble {model.name}, {says}", mend=mend)
    yield from _decoupled(self, model, context)


def _is_left_open(member: ModelDirectory, side: str, context: Context) -> bool:
    """Tell whether a model's config leaves its tensors to a backend that may complete them."""
    if context.strict or member.message.HasField("ensemble_scheduling"):
        return False
    return not getattr(member.message, side.removesuffix("_map"))


def _left_open(
    self: Rule, model: ModelDirectory, path: tuple[str | int, ...], member: ModelDirectory, context: Context
) -> Finding:
    completed, kind = context.completed(member), str(path[-1]).removesuffix("_map")
    knows = completed is not None and completed.backend in COMPLETING
    return self.of(
        model,
        path,
        f"the config of '{member.name}' has no {kind}: unless its backend completes it, there is none to map",
        says="is mapping to non-existing input" if kind == "input" else "is mapped from non-existing output",
        mend=f"write the {kind}s of '{member.name}' into its config",
        severity="note" if knows else "warning",
    )


def _mapping_faults(
    step: Any, member: Any, side: str, tensors: dict[str, _Shape]
) -> Iterator[tuple[str, str, str]]:
    name, kind, mapped = step.model_name, side.removesuffix("_map"), getattr(step, side)
    there = getattr(member, kind)
    names = [each.name for each in there]
    for key, tensor in sorted(mapped.items()):
        if key not in names:
            way = "is mapping to" if kind == "input" else "is mapped from"
            says = f"ensemble tensor {tensor} {way} non-existing {kind} {key} in model {name}"
            left = [each for each in names if each not in mapped]
            close = left[0] if len(left) == 1 else closest(key, left)
            mend = f'key: "{close}"?' if close else f"leave the {side} of '{key}' out"
            yield f"'{name}' has no {kind} '{key}'; there are {', '.join(names) or 'none'}", says, mend
        elif kind == "output" and names.count(key) > 1:
            says = f"multiple outputs in model {name} are mapped to the same ensemble tensor {tensor}"
            mend = f"take one of them out of the config of '{name}'"
            yield f"'{name}' has {names.count(key)} outputs '{key}'", says, mend
    for each in there:
        if each.name in mapped:
            tensor = mapped[each.name]
            shape = _Shape(name, type_name(each), tuple(each.dims), member.max_batch_size > 0)
            if fault := _difference(first := tensors.setdefault(tensor, shape), shape):
                mend = f"let '{first.model}' and '{name}' agree, or put a model between them that converts"
                yield f"tensor '{tensor}': {fault}", f"ensemble tensor {tensor}: {fault}", mend
        elif kind == "input" and not each.optional:
            says = f"input {each.name} in model {name} is not mapped to any ensemble tensors"
            mend = f'input_map {{ key: "{each.name}" value: "TENSOR OF THE ENSEMBLE" }}'
            yield f"input '{each.name}' of '{name}' is mapped to no tensor", says, mend


def _difference(one: _Shape, other: _Shape) -> str | None:
    if one.type != other.type:
        return (
            f"inconsistent data type: {one.type} is inferred from model {one.model} while "
            f"{other.type} is inferred from model {other.model}"
        )
    if not _agree(one.dims, other.dims) and not _agree(one.full, other.full):
        return (
            f"inconsistent shape: {_text(one.full)} is inferred from model {one.model} while "
            f"{_text(other.full)} is inferred from model {other.model}"
        )
    return None


def _agree(one: Sequence[int], other: Sequence[int]) -> bool:
    return len(one) == len(other) and all(
        -1 in pair or pair[0] == pair[1] for pair in zip(one, other, strict=True)
    )


def _text(dims: Sequence[int]) -> str:
    return f"[{','.join(map(str, dims))}]"


def _decoupled(self: Rule, model: ModelDirectory, context: Context) -> Iterator[Finding]:
    """Answers of two decoupled models cannot be brought together: each sends as many as it likes."""
    origin = {tensor.name: 0 for tensor in model.message.input}
    waiting = list(members(model, context))
    while able := [each for each in waiting if origin.keys() >= set(each[1].input_map.values())]:
        for index, step, member in able:
            origins = {origin[name] for name in step.input_map.values()}
            if len(origins) > 1:
                message = (
                    f"step {index} takes answers of models that answer as often as they like, and others"
                )
                yield self.of(model, (*_STEP, index), message, says=_ORIGINS, mend=_PAIRS)
                return
            came_from = index + 1 if _sends(member, context) else origins.pop()
            for name in step.output_map.values():
                origin.setdefault(name, came_from)  # an input of the ensemble stays one
        waiting = [each for each in waiting if each not in able]
    if len({origin[tensor.name] for tensor in model.message.output if tensor.name in origin}) > 1:
        message = "some of its outputs come of a model that answers as often as it likes, and others do not"
        yield self.of(model, ("output",), message, says=_ORIGINS, mend=_PAIRS)


def _sends(member: ModelDirectory | None, context: Context) -> bool:
    """Tell whether a model answers as often as it likes; an ensemble does when a model of its does."""
    seen: set[str] = set()
    waiting = [member]
    while waiting:
        each = waiting.pop()
        if each is None or each.message is None or each.name in seen:
            continue
        seen.add(each.name)
        if each.message.HasField("ensemble_scheduling"):
            waiting += [inner for _, _, inner in members(each, context)]
        elif each.message.model_transaction_policy.decoupled:
            return True
    return False
