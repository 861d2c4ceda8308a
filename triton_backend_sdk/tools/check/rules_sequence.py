"""C26, C27: sequences, and the tensors that tell a model of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from triton_backend_sdk.tools.check.data import enum_name, enum_of, one_of, type_name
from triton_backend_sdk.tools.check.finding import Finding
from triton_backend_sdk.tools.check.repository import ModelDirectory
from triton_backend_sdk.tools.check.rules import Context, Rule, config_rule, declare

C26 = declare("C26", "a control of a sequence batcher that says too much or too little")
C27 = declare("C27", "a strategy of a sequence batcher out of its range")
_PATH = ("sequence_batching", "control_input")
_CORRID = "CONTROL_SEQUENCE_CORRID"
_CORRID_TYPES = ("TYPE_UINT64", "TYPE_INT64", "TYPE_UINT32", "TYPE_INT32", "TYPE_STRING")
#: How a control says what is false and what is true, and how that is written.
_PAIRS = {
    "int32_false_true": "int32_false_true: [ 0, 1 ]",
    "fp32_false_true": "fp32_false_true: [ 0, 1 ]",
    "bool_false_true": "bool_false_true: [ false, true ]",
}


@config_rule(C26)
def check_controls(self: Rule, model: ModelDirectory, context: Context) -> Iterator[Finding]:
    """Each kind once, each under a name of its own."""
    names: set[str] = set()
    kinds: set[str] = set()
    for index, each in enumerate(model.message.sequence_batching.control_input):
        path = (*_PATH, index)
        if not each.name:
            said = f"sequence batching control tensor must have a name for {model.name}"
            yield _say(self, model, path, said, 'name: "..." as the model calls its input')
        elif each.name in names:
            said = f"sequence batching control tensor '{each.name}' is specified for multiple control kinds"
            yield _say(self, model, (*path, "name"), f"{said} for {model.name}", "give each its own name")
        names.add(each.name)
        for number, control in enumerate(each.control):
            place = (*path, "control", number)
            kind = enum_name(control, "kind")
            if kind in kinds:
                said = f"sequence batching specifies multiple {kind} tensors for {model.name}"
                yield _say(self, model, place, said, "take one of them out, or give it another kind")
            kinds.add(kind)
            if kind.lstrip("-").isdigit():
                said = f"there is no control of kind {kind}: Triton passes over it"
                yield self.of(model, place, said, mend=one_of(enum_of(control, "kind")), severity="warning")
                continue
            fault = (_corrid_fault if kind == _CORRID else _pair_fault)(model, control, kind)
            if fault:
                yield _say(self, model, place, *fault)


def _say(self: Rule, model: ModelDirectory, path: tuple[str | int, ...], said: str, mend: str) -> Finding:
    return self.of(model, path, said, says=said, mend=mend)


def _pair_fault(model: ModelDirectory, control: Any, kind: str) -> tuple[str, str] | None:
    given = [name for name in _PAIRS if getattr(control, name)]
    if not given:
        return (
            "sequence batching must specify either 'int32_false_true', 'fp32_false_true' or "
            f"'bool_false_true' for {kind} for {model.name}",
            _PAIRS["int32_false_true"],
        )
    if len(given) > 1:
        return (
            "sequence batching specifies more than one from 'int32_false_true', 'fp32_false_true' and "
            f"'bool_false_true' for {kind} for {model.name}",
            f"leave {' and '.join(given[1:])} out",
        )
    if len(getattr(control, given[0])) != 2:
        return (
            f"sequence batching control '{given[0]}' must have exactly 2 entries for {kind} for {model.name}",
            _PAIRS[given[0]],
        )
    return None


def _corrid_fault(model: ModelDirectory, control: Any, kind: str) -> tuple[str, str] | None:
    if given := [name for name in _PAIRS if getattr(control, name)]:
        return (
            "sequence batching must not specify either 'int32_false_true', 'fp32_false_true' or "
            f"'bool_false_true' for {kind} for {model.name}",
            f"leave {' and '.join(given)} out",
        )
    if type_name(control) not in _CORRID_TYPES:
        return (
            f"unexpected data type for control {kind} for {model.name}. Allowed data types are TYPE_UINT64, "
            "TYPE_INT64, TYPE_UINT32, TYPE_INT32 and TYPE_STRING",
            "data_type: TYPE_UINT64, or another of these",
        )
    return None


@config_rule(C27)
def check_strategy(self: Rule, model: ModelDirectory, context: Context) -> Iterator[Finding]:
    """Oldest first, or each sequence in its slot."""
    batching, largest = model.message.sequence_batching, model.message.max_batch_size
    for index, size in enumerate(batching.oldest.preferred_batch_size):
        if 0 < size <= largest:
            continue
        wants = "must be positive" if size <= 0 else "must be <= max batch size"
        yield self.of(
            model,
            ("sequence_batching", "oldest", "preferred_batch_size", index),
            f"preferred_batch_size {size} is out of 1 to max_batch_size, which is {largest}",
            says=f"sequence batching preferred batch size {wants} for {model.name}",
            mend="leave preferred_batch_size out",
        )
    utilization = batching.direct.minimum_slot_utilization
    if utilization < 0 or utilization > 1:  # Triton compares so too, and lets nan pass
        yield self.of(
            model,
            ("sequence_batching", "direct", "minimum_slot_utilization"),
            f"minimum_slot_utilization is {utilization:g}; it can be 0 to 1",
            says=f"sequence batching minimum slot utilization must be in range (0.0, 1.0] for {model.name}",
            mend="minimum_slot_utilization: 0.5, or leave it out",
        )
