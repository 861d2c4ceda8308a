"""C29, C30: what the config of an ensemble says by itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from triton_backend_sdk.tools.check.finding import Finding
from triton_backend_sdk.tools.check.repository import ModelDirectory
from triton_backend_sdk.tools.check.rules import Context, Rule, closest, config_rule, declare
from triton_backend_sdk.tools.check.rules_backend import ENSEMBLE

C29 = declare("C29", "an ensemble with what only other models have, or without its steps")
C30 = declare("C30", "an ensemble whose tensors or models do not meet")
_STEP = ("ensemble_scheduling", "step")
_MENDS = {
    "flow": "let the inputs of a step that writes it be inputs of the ensemble, or outputs of other steps",
    "step": 'step { model_name: "..." model_version: -1 input_map { ... } output_map { ... } }',
    "model_name": 'model_name: "..."',
    "input_map": 'input_map { key: "INPUT OF THE MODEL" value: "TENSOR OF THE ENSEMBLE" }',
    "output_map": 'output_map { key: "OUTPUT OF THE MODEL" value: "TENSOR OF THE ENSEMBLE" }',
}
#: Fields that an ensemble cannot have, and Triton's sentence about each.
_FOREIGN = {
    "instance_group": "instance group should not be specified for ensemble '{}'",
    "optimization": "optimization should not be specified for ensemble '{}'",
    "model_warmup": "model_warmup can not be specified for ensemble '{}'",
}


@config_rule(C29)
def check_header(self: Rule, model: ModelDirectory, context: Context) -> Iterator[Finding]:
    """Platform and steps, and nothing that belongs to a backend."""
    message, name = model.message, model.name
    scheduled = message.HasField("ensemble_scheduling")
    completed = context.completed(model)
    if message.platform == ENSEMBLE and completed is not None and completed.backend:
        says = f"Ensemble model '{name}' must have platform type 'ensemble' and empty backend type"
        field = "backend" if message.backend else "default_model_filename"
        said = "an ensemble has no backend" + ("" if message.backend else f", but {field} is of one")
        yield self.of(model, (field,), said, says=says, mend=f"leave {field} out")
    if message.platform == ENSEMBLE and not scheduled:
        says = f"ensemble scheduling must be set for ensemble {name} whose platform is ensemble"
        said = "an ensemble has ensemble_scheduling, with its steps"
        yield self.of(
            model, ("platform",), said, says=says, mend=f"ensemble_scheduling {{ {_MENDS['step']} }}"
        )
    if not scheduled:
        return
    if message.platform != ENSEMBLE:
        says = f"ensemble scheduling cannot be set for model '{name}' whose platform is not ensemble"
        message_ = "ensemble_scheduling is of models with platform 'ensemble'"
        mend = 'platform: "ensemble", without backend'
        yield self.of(model, ("ensemble_scheduling",), message_, says=says, mend=mend)
    for field, says in _FOREIGN.items():
        value = getattr(message, field)
        if len(value) if hasattr(value, "__len__") else message.HasField(field):
            yield self.of(
                model,
                (field,),
                f"an ensemble has no {field}",
                says=says.format(name),
                mend=f"leave {field} out: the models of its steps have theirs",
            )
    yield from _check_steps(self, model)


def _check_steps(self: Rule, model: ModelDirectory) -> Iterator[Finding]:
    steps = model.message.ensemble_scheduling.step
    if not steps:
        says = f"must specify 'step' for ensemble '{model.name}'"
        said = "the ensemble has no step"
        yield self.of(model, ("ensemble_scheduling",), said, says=says, mend=_MENDS["step"])
    for index, step in enumerate(steps):
        for field in ("model_name", "input_map", "output_map"):
            if not getattr(step, field):
                says = f"must specify '{field}' in step {index} of ensemble '{model.name}'"
                yield self.of(
                    model, (*_STEP, index), f"step {index} has no {field}", says=says, mend=_MENDS[field]
                )


@config_rule(C30)
def check_graph(self: Rule, model: ModelDirectory, context: Context) -> Iterator[Finding]:
    """Every tensor is written once and used."""
    if not is_sound_ensemble(model.message):
        return
    if (twice := _written_twice(model.message)) is not None:
        index, name = twice
        says = f"ensemble tensor '{name}' can appear in an output map only once for ensemble '{model.name}'"
        message = f"tensor '{name}' is written by step {index}, and by one before it"
        mend = "another value in one of the two output_map, and in what is to read it"
        yield self.of(model, (*_STEP, index, "output_map"), message, says=f"{says} step {index}", mend=mend)
        return
    yield from _check_flow(self, model)


def is_sound_ensemble(message: Any) -> bool:
    """Tell whether a config is of an ensemble whose steps say what they must."""
    steps = message.ensemble_scheduling.step
    return bool(steps) and all(step.model_name and step.input_map and step.output_map for step in steps)


def _written_twice(message: Any) -> tuple[int, str] | None:
    written: set[str] = set()
    for index, step in enumerate(message.ensemble_scheduling.step):
        for name in step.output_map.values():
            if name in written:
                return index, name
            written.add(name)
    return None


def _check_flow(self: Rule, model: ModelDirectory) -> Iterator[Finding]:
    message, name = model.message, model.name
    steps = message.ensemble_scheduling.step
    read = _read(message)
    written = {tensor for step in steps for tensor in step.output_map.values()}
    inputs, outputs = [each.name for each in message.input], [each.name for each in message.output]
    ready = _ready(message)
    for side, names in (("input", inputs), ("output", outputs)):
        for index, tensor in enumerate(names):
            if tensor not in read | written:
                says = f"ensemble {side} '{tensor}' for ensemble {name}"
                said = f"no step {'reads' if side == 'input' else 'writes'} {side} '{tensor}' of the ensemble"
                mend = f'{side}_map {{ key: "{side.upper()} OF THE MODEL" value: "{tensor}" }} in a step'
                others = (read - ready) if side == "input" else (written - read)
                if close := closest(tensor, others.difference(inputs, outputs)):
                    mend = f'value: "{tensor}" in place of "{close}"?'
                yield self.of(model, (side, index), said, says=says, mend=mend)
    unwritten = {tensor for tensor in outputs if tensor in read | written and tensor not in ready}
    slips = ((each, closest(each, ready)) for each in sorted(read - written - ready))
    meant = next((f'value: "{close}" in place of "{each}"?' for each, close in slips if close), None)
    for index, tensor in enumerate(outputs):
        if tensor in unwritten:
            says = f"output '{tensor}' for ensemble '{name}' is not written"
            waits = ", ".join(sorted((read | written) - ready - {tensor}))
            message_ = f"output '{tensor}' is never written" + (f": {waits} never is" if waits else "")
            yield self.of(model, ("output", index), message_, says=says, mend=meant or _MENDS["flow"])
    yield from _check_unused(self, model, ready, read if unwritten else read & ready)


def _check_unused(self: Rule, model: ModelDirectory, ready: set[str], used: set[str]) -> Iterator[Finding]:
    told = {each.name for each in model.message.output}
    for number, step in enumerate(model.message.ensemble_scheduling.step):
        for side in ("input_map", "output_map"):
            for tensor in getattr(step, side).values():
                if tensor in told or tensor in used:
                    continue
                told.add(tensor)
                says = f"ensemble tensor '{tensor}' is unused in ensemble '{model.name}'"
                if tensor in ready:
                    said, meant = f"tensor '{tensor}' is never read", {*told, *_read(model.message)} - ready
                    mend = f"leave its {side} out, or make it an output of the ensemble"
                else:
                    said, meant = f"tensor '{tensor}' is never written", ready
                    mend = f'output_map {{ key: "OUTPUT OF THE MODEL" value: "{tensor}" }} in a step'
                close = closest(tensor, meant - {tensor})
                mend = f'value: "{close}"?' if close else mend
                yield self.of(model, (*_STEP, number, side), said, says=says, mend=mend)


def _read(message: Any) -> set[str]:
    return {tensor for step in message.ensemble_scheduling.step for tensor in step.input_map.values()}


def _ready(message: Any) -> set[str]:
    """Give the tensors that are written in the end."""
    ready = {tensor.name for tensor in message.input}
    while True:
        more = {
            name
            for step in message.ensemble_scheduling.step
            if ready.issuperset(step.input_map.values())
            for name in step.output_map.values()
        }
        if more <= ready:
            return ready
        ready |= more
