"""Sequences on the fake host: ids, flags, and states that are kept from one request to the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from triton_backend_sdk.dtypes import DataType
from triton_backend_sdk.enums import RequestFlag
from triton_backend_sdk.errors import InternalError, InvalidArgError
from triton_backend_sdk.states import StateSpec, read_sequences
from triton_backend_sdk.testing.fake_output import OutputSpecs, source
from triton_backend_sdk.testing.fake_tensor import FakeTensor
from triton_backend_sdk.testing.wire import to_wire

if TYPE_CHECKING:
    import numpy.typing as npt

    from triton_backend_sdk.model import Model
    from triton_backend_sdk.specs import TensorSpec


class FakeSequence:
    """One request's part in its sequence: the old states, and the new."""

    def __init__(
        self, specs: OutputSpecs, states: Sequence[StateSpec], kept: dict[str, FakeTensor], ends: bool
    ) -> None:
        self.specs = specs
        #: The request carries SEQUENCE_END.
        self.ends = ends
        self._states = states
        self._kept = kept
        self._new: dict[str, FakeTensor] = {}

    def begin(self) -> Mapping[str, FakeTensor]:
        """Give the old states, as inputs."""
        self._new.clear()
        return dict(self._kept)

    def find(self, name: str) -> TensorSpec:
        """Give a state's declaration.

        :raises InternalError: the config has no such state.
        """
        if self._states:
            return self.specs.find(name)
        advice = "declare it in sequence_batching { state { ... } }"
        raise InternalError(f"state '{name}': the model's config has no states; {advice}")

    def add(self, tensor: FakeTensor) -> None:
        """Note a new state.

        :raises InternalError: it is there already.
        """
        if tensor.name in self._new:
            raise InternalError(f"state '{tensor.name}' was already given for this request")
        self._new[tensor.name] = tensor

    def take(self, states: Any, batch_size: int) -> None:
        """Keep the new states: the request is answered, and not with an error.

        :raises InternalError: one contradicts the config.
        """
        for name, value in dict(states or {}).items():
            spec = self.find(name)
            dtype, shape, data = source("state", name, value)
            if dtype is not spec.dtype:
                advice = "convert it, for example with .astype"
                raise InternalError(
                    f"state '{name}' is {dtype!s}, but the config says {spec.dtype!s}: {advice}"
                )
            self.specs.check_shape(spec, shape, batch_size)
            self._new[name] = FakeTensor(name, dtype, shape, data.copy(), readonly=False)
        for state in self._states:
            if state.spec.name in self._new:
                new = self._new[state.spec.name]
                self._kept[state.input_name] = FakeTensor(
                    state.input_name, new.dtype, new.shape, new.data.copy(), readonly=True
                )


class FakeSequences:
    """What Triton keeps of the sequences of one model."""

    def __init__(self, model: Model) -> None:
        sequences = read_sequences(model.config)
        self._states = sequences.states if sequences is not None else ()
        self.specs = OutputSpecs(model, "state", [state.spec for state in self._states])
        self._batching = model.max_batch_size > 0
        #: By correlation id: input_name to the state.
        self._kept: dict[int | str, dict[str, FakeTensor]] = {}

    def of(self, correlation_id: int | str) -> dict[str, npt.NDArray[Any]]:
        """Give a sequence's states as the next request will find them, by output_name."""
        kept = self._kept.get(correlation_id, {})
        return {
            state.spec.name: kept[state.input_name].numpy()
            for state in self._states
            if state.input_name in kept
        }

    def request(
        self, correlation_id: int | str, flags: RequestFlag, given: Mapping[str, Any]
    ) -> FakeSequence:
        """Give a request's part in its sequence.

        :param given: by input_name, what it finds instead of what the last request left.
        :raises InvalidArgError: the model has no such state.
        """
        unknown = sorted(set(given) - {state.input_name for state in self._states})
        if unknown:
            known = ", ".join(state.input_name for state in self._states) or "none"
            raise InvalidArgError(f"no state has the input_name {unknown[0]!r}; the config's are: {known}")
        if flags & RequestFlag.SEQUENCE_START:
            self._kept.pop(correlation_id, None)
        kept = self._kept.setdefault(correlation_id, {})
        for state in self._states:
            if state.input_name in given:
                kept[state.input_name] = _given(state, given[state.input_name])
            kept.setdefault(state.input_name, self._initial(state))
        return FakeSequence(self.specs, self._states, kept, bool(flags & RequestFlag.SEQUENCE_END))

    def _initial(self, state: StateSpec) -> FakeTensor:
        # As Triton has it: what varies is 1. Empty strings are zeros too.
        shape = [1] * self._batching + [max(dim, 1) for dim in state.spec.dims]
        size = state.spec.dtype.itemsize if state.spec.dtype is not DataType.BYTES else 4
        data = np.zeros(int(np.prod(shape)) * size, np.uint8)
        return FakeTensor(state.input_name, state.spec.dtype, shape, data, readonly=True)


def _given(state: StateSpec, value: Any) -> FakeTensor:
    wire = to_wire(value)
    if wire.dtype is not state.spec.dtype:
        expected = f"but the config says {state.spec.dtype!s}"
        raise InvalidArgError(f"state '{state.input_name}' is {wire.dtype!s}, {expected}")
    data = np.concatenate([np.empty(0, np.uint8), *wire.buffers])
    return FakeTensor(state.input_name, wire.dtype, list(wire.shape), data, readonly=True)
