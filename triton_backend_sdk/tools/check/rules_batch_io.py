"""C23: batch_input and batch_output."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from triton_backend_sdk.tools.check.data import enum_name, enum_of, one_of, type_name
from triton_backend_sdk.tools.check.finding import Finding
from triton_backend_sdk.tools.check.repository import ModelDirectory
from triton_backend_sdk.tools.check.rules import Context, Rule, config_rule, declare

C23 = declare("C23", "a batch_input or batch_output that cannot be made", phase="tensors")
_SOURCES = "batch {} kind '{}' expects 1 source input, got {}"


@config_rule(C23)
def check_batch_inputs(self: Rule, model: ModelDirectory, context: Context) -> Iterator[Finding]:
    """Each of one input, as INT32 or FP32."""
    message = model.message
    inputs = {tensor.name for tensor in message.input}
    for index, each in enumerate(message.batch_input):
        path = ("batch_input", index)
        yield from _kind(self, model, path, each)
        if len(each.source_input) != 1:
            said = _SOURCES.format("input", enum_name(each, "kind"), len(each.source_input))
            yield self.of(model, path, said, says=said, mend="name one input as source_input")
        if type_name(each) not in ("TYPE_INT32", "TYPE_FP32"):
            said = "batch input data type must be TYPE_INT32 or TYPE_FP32"
            message, mend = f"{said}, not {type_name(each)}", "data_type: TYPE_INT32"
            yield self.of(model, (*path, "data_type"), message, says=said, mend=mend)
        yield from _sources(self, model, path, each.source_input, inputs)


@config_rule(C23)
def check_batch_outputs(self: Rule, model: ModelDirectory, context: Context) -> Iterator[Finding]:
    """Each of one input, for outputs that there are."""
    inputs = {tensor.name for tensor in model.message.input}
    outputs = {tensor.name for tensor in model.message.output}
    for index, each in enumerate(model.message.batch_output):
        path = ("batch_output", index)
        yield from _kind(self, model, path, each)
        if len(each.source_input) != 1:
            said = _SOURCES.format("output", enum_name(each, "kind"), len(each.source_input))
            yield self.of(model, path, said, says=said, mend="name one input as source_input")
        yield from _sources(self, model, path, each.source_input, inputs)
        seen: set[str] = set()
        for number, name in enumerate(each.target_name):
            fault = None
            if name not in outputs:
                fault = f"unknown target output name '{name}'"
            elif name in seen:
                fault = f"target output name '{name}' can only be specified once"
            seen.add(name)
            if fault:
                mend = f"name each of {', '.join(sorted(outputs)) or 'no outputs'} once at most"
                yield self.of(model, (*path, "target_name", number), fault, says=fault, mend=mend)


def _kind(self: Rule, model: ModelDirectory, path: tuple[str, int], each: Any) -> Iterator[Finding]:
    kind = enum_name(each, "kind")
    if kind.lstrip("-").isdigit():
        side = path[0].replace("_", " ")
        says = f"unknown {side} kind ''"
        message, mend = f"there is no {side} kind {kind}", one_of(enum_of(each, "kind"))
        yield self.of(model, (*path, "kind"), message, says=says, mend=mend)


def _sources(
    self: Rule, model: ModelDirectory, path: tuple[str, int], names: list[str], inputs: set[str]
) -> Iterator[Finding]:
    for number, name in enumerate(names):
        if name not in inputs:
            said = f"unknown source input name '{name}'"
            mend = f"there are {', '.join(sorted(inputs)) or 'no inputs'}"
            yield self.of(model, (*path, "source_input", number), said, says=said, mend=mend)
