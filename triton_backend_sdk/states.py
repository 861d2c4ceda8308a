"""A model's ``sequence_batching``: read, and its states checked as Triton's core does not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from triton_backend_sdk.dtypes import DataType
from triton_backend_sdk.errors import InvalidArgError, UnsupportedError
from triton_backend_sdk.specs import TensorSpec


@dataclass(frozen=True)
class StateSpec:
    """One ``state`` of the config."""

    #: What a Response calls the new state: the output_name, its datatype and its dims.
    spec: TensorSpec
    #: The input that brings the old one.
    input_name: str
    #: The config says with what a sequence starts: ``{"zero_data": True}`` or ``{"data_file": name}``, or {}.
    initial: Mapping[str, Any]
    #: use_same_buffer_for_input_output.
    shared: bool

    def as_c(self) -> tuple[tuple[str, int, tuple[int, ...]], str, bool, bool, bool]:
        """Give what C takes."""
        spec = self.spec
        wanted = (spec.name, spec.dtype.c_value, spec.dims)
        return wanted, self.input_name, -1 not in spec.dims, self.shared, not self.initial


@dataclass(frozen=True)
class Sequences:
    """The config's sequence_batching, as C needs to know it."""

    #: The strategy: a sequence's next request may start when execute returns, not when its last is released.
    direct: bool
    #: Requests may be rescheduled.
    iterative: bool
    #: The control input that brings the correlation id as a string.
    text_id: str | None
    states: tuple[StateSpec, ...]

    def as_c(self) -> tuple[Any, ...]:
        """Give what ``_hot.bind_sequences`` takes."""
        return self.direct, self.iterative, self.text_id, tuple(state.as_c() for state in self.states)


def read_sequences(config: Mapping[str, Any]) -> Sequences | None:
    """Read the sequence_batching of a model's config; None for a model without it.

    :raises InvalidArgError: Triton would mix them up.
    :raises UnsupportedError: one lies in GPU memory.
    """
    batching = config.get("sequence_batching")
    if batching is None:
        return None
    declared = batching.get("state", [])
    for state in declared:
        if state.get("use_growable_memory"):
            message = "use_growable_memory keeps it in GPU memory, which this SDK does not write"
            raise UnsupportedError(f"state '{state['output_name']}': {message}")
    states = tuple(_state(state) for state in declared)
    _check_pairs({state.input_name: state.spec.name for state in states}, len(states))
    return Sequences(
        direct="oldest" not in batching,
        iterative=bool(batching.get("iterative_sequence")),
        text_id=next(_text_ids(batching), None),
        states=states,
    )


def _text_ids(batching: Mapping[str, Any]) -> Iterator[str]:
    for control_input in batching.get("control_input", []):
        for control in control_input.get("control", []):
            kind, dtype = control.get("kind"), control.get("data_type")
            if kind == "CONTROL_SEQUENCE_CORRID" and dtype == "TYPE_STRING":
                yield control_input["name"]


def _state(declared: Mapping[str, Any]) -> StateSpec:
    dims = tuple(int(dim) for dim in declared["dims"])
    initial = (declared.get("initial_state") or [{}])[0]
    return StateSpec(
        TensorSpec(declared["output_name"], DataType.of(declared["data_type"]), dims),
        declared["input_name"],
        initial,
        bool(declared.get("use_same_buffer_for_input_output")),
    )


def _check_pairs(pairs: Mapping[str, str], count: int) -> None:
    if len(pairs) != count or len(set(pairs.values())) != count:
        raise InvalidArgError("sequence_batching: two states have the same input_name or output_name")
    inputs, outputs = sorted(pairs), sorted(pairs.values())
    for given, taken in zip(inputs, outputs, strict=True):
        if pairs[given] != taken:
            raise InvalidArgError(
                "sequence_batching: Triton pairs the states' names in alphabetical order, so "
                f"'{taken}' would become '{given}', not what the config says: "
                "rename them, as in A_IN and A_OUT, B_IN and B_OUT"
            )
