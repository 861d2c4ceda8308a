"""C28: the states of sequences that Triton keeps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from triton_backend_sdk.tools.check.data import byte_size, file_size, fixed, type_name, why_not
from triton_backend_sdk.tools.check.finding import Finding
from triton_backend_sdk.tools.check.repository import ModelDirectory
from triton_backend_sdk.tools.check.rules import Context, Rule, config_rule, declare

C28 = declare("C28", "a state of sequences that cannot begin", phase="load")
#: Where, what is wrong in the server's words, and the mend.
_Fault = tuple[tuple[str | int, ...], str, str]


@config_rule(C28)
def check_states(self: Rule, model: ModelDirectory, context: Context) -> Iterator[Finding]:
    """Triton makes them with the scheduler; 2.51 may end with a signal where that fails."""
    begun: set[str] = set()
    for index, state in enumerate(model.message.sequence_batching.state):
        place = ("sequence_batching", "state", index)
        for path, said, mend in _faults(model, state, begun, context):
            yield self.of(model, (*place, *path), said, says=said, mend=mend)
        yield from _check_any(self, model, index, state)


def _check_any(self: Rule, model: ModelDirectory, index: int, state: Any) -> Iterator[Finding]:
    for initial in state.initial_state[:1]:
        if any(dim > 1 and wanted == -1 for dim, wanted in zip(initial.dims, state.dims, strict=False)):
            yield self.of(
                model,
                ("sequence_batching", "state", index, "initial_state", 0, "dims"),
                f"state '{state.input_name}' begins with {list(initial.dims)}, but Triton tells the model 1 "
                "for each dim that may be any",
                mend="write that dim into the state, or begin with 1",
                severity="warning",
            )


def _faults(model: ModelDirectory, state: Any, begun: set[str], context: Context) -> Iterator[_Fault]:
    name = state.input_name
    if len(state.initial_state) > 1:
        yield (
            ("initial_state",),
            f"initial_state field for state input '{name}' must contain exactly one or zero element. Found "
            f"'{len(state.initial_state)}' elements.",
            "leave one of them",
        )
    elif state.initial_state:
        if name in begun:
            said = f"State input name '{name}' specified more than once."
            yield ("input_name",), said, "give each state an input_name of its own"
        begun.add(name)
        for path, said, mend in _initial_faults(model, state, state.initial_state[0]):
            yield ("initial_state", 0, *path), said, mend
    if not getattr(state, "use_growable_memory", False):
        return
    if not state.use_same_buffer_for_input_output:
        yield (
            ("use_growable_memory",),
            "In order to 'use_growable_memory', you must also enable 'use_single_buffer' for state input "
            f"name '{name}'.",
            "use_same_buffer_for_input_output: true",
        )
    elif not context.gpus or any(group.kind == group.KIND_CPU for group in model.message.instance_group):
        yield (
            ("use_growable_memory",),
            "'use_growable_memory' can only work with KIND_GPU model instances right now.",
            "leave it out, or let all instance groups have kind: KIND_GPU"
            + ("" if context.gpus else "; tbsdk check --gpus 1 where the server has one"),
        )


def _initial_faults(model: ModelDirectory, state: Any, initial: Any) -> Iterator[_Fault]:
    name = state.input_name
    if initial.data_type != state.data_type:
        said = (
            f"The data type used for 'initial_state' field of state '{name}' does not match the state data "
            "type."
        )
        yield ("data_type",), said, f"data_type: {type_name(state)}"
    if not initial.name:
        said = f"Field 'name' must be set when using initial_state for state input '{name}'."
        yield (), said, 'name: "..." as you like'
    if len(initial.dims) != len(state.dims):
        yield (
            ("dims",),
            "Number of dimensions in 'initial_state' doesn't match the size of 'state' dimensions for "
            f"state input '{name}'. {len(initial.dims)} != {len(state.dims)}",
            f"dims: {fixed(state.dims)}",
        )
        return
    for number, (dim, wanted) in enumerate(zip(initial.dims, state.dims, strict=True)):
        if dim == -1:
            yield (
                ("dims", number),
                f"'initial_state' field for state input name '{name}' contains variable dimensions.",
                f"dims: {fixed(state.dims)}",
            )
        elif dim < 0:
            said = f"state '{name}' begins with dim {dim}: the server ends with a signal"
            yield ("dims", number), said, f"dims: {fixed(state.dims)}"
        elif wanted not in (-1, dim):
            yield (
                ("dims", number),
                f"'initial_state' dim for input name '{name}' doesn't match 'state' dim description. {dim} "
                f"!= {wanted}",
                f"dims: {fixed(state.dims)}",
            )
    yield from _data_faults(model, name, initial)


def _data_faults(model: ModelDirectory, name: str, initial: Any) -> Iterator[_Fault]:
    given = initial.WhichOneof("state_data")
    if given is None:
        yield (), f"initial_state setting expects state'{name}' to have state_data set", "zero_data: true"
    if given != "data_file":
        return
    path = model.path / "initial_state" / initial.data_file
    there, needed = file_size(path), byte_size(initial)
    if there is None:
        yield ("data_file",), why_not(path)[0], f"put the data into {path}, or zero_data: true"
    elif needed is not None and there < needed:
        yield (
            ("data_file",),
            f"initial_state setting expects {needed} bytes, but the data provided from "
            f"{initial.data_file}only has {there} bytes.",
            f"let {path} have {needed} bytes, or zero_data: true",
        )
