"""The config of a model while it is being made: by a Signature, by the hook auto_complete_config, or both."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from triton_backend_sdk.dtypes import DataType
from triton_backend_sdk.errors import InvalidArgError
from triton_backend_sdk.specs import DynamicBatching, Fields, InstanceGroup, SequenceBatching, TensorSpec

#: A config has one of these at most, and Triton keeps the one that config.pbtxt has.
SCHEDULING = ("dynamic_batching", "sequence_batching", "ensemble_scheduling")
#: All that Triton takes over from a backend. See TRITONBACKEND_ModelSetConfig.
_TAKEN_OVER = ("input", "output", "max_batch_size", "model_transaction_policy", *SCHEDULING)


class ModelConfig:
    """A model's config in the making. What config.pbtxt says stands: a contradiction is an error.

    A running server takes inputs, outputs, the batch size, the scheduling (where config.pbtxt has none) and
    ``decoupled`` from a backend; other fields are ignored there, with a warning in the log, and count where
    ``tbsdk config`` writes the file. See TRITONBACKEND_ModelSetConfig.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._fields: Fields = copy.deepcopy(dict(config))

    def as_dict(self) -> dict[str, Any]:
        """Give a copy of the whole config, with the names of Triton's model_config.proto."""
        return copy.deepcopy(self._fields)

    @property
    def name(self) -> str:
        """The model's name."""
        return str(self._fields.get("name", ""))

    @property
    def max_batch_size(self) -> int:
        """The most rows of a batch; 0 for a model that does not batch, or says nothing yet."""
        return int(self._fields.get("max_batch_size", 0))

    @property
    def scheduling(self) -> str | None:
        """The name of the scheduling that the config has: ``"dynamic_batching"``, ..."""
        return next((field for field in SCHEDULING if field in self._fields), None)

    def add_input(self, spec: TensorSpec) -> None:
        """Add an input, or complete the one of that name.

        :raises InvalidArgError: config.pbtxt says something else of it.
        """
        self._add("input", spec)

    def add_output(self, spec: TensorSpec) -> None:
        """Add an output; see :meth:`add_input`."""
        self._add("output", spec)

    def set_max_batch_size(self, size: int) -> None:
        """Set the most rows of a batch; 0: the model does not batch.

        :raises InvalidArgError: it is negative.
        """
        if size < 0:
            raise InvalidArgError(
                f"max_batch_size of model '{self.name}' cannot be {size}; 0 means no batching"
            )
        self._fields["max_batch_size"] = int(size)

    def set_decoupled(self, decoupled: bool = True) -> None:
        """Let a request have any number of responses."""
        self._fields["model_transaction_policy"] = {"decoupled": bool(decoupled)}

    def set_dynamic_batching(self, batching: DynamicBatching | None = None) -> None:
        """Let Triton join requests into batches.

        :raises InvalidArgError: the model has another scheduling.
        """
        self._schedule("dynamic_batching", (batching or DynamicBatching()).as_dict())

    def set_sequence_batching(self, batching: SequenceBatching) -> None:
        """Bind the requests of a sequence to one instance; see :meth:`set_dynamic_batching`."""
        self._schedule("sequence_batching", batching.as_dict())

    def add_instance_group(self, group: InstanceGroup) -> None:
        """Add instances. A running server ignores it: see ``preferred-instance-groups`` in pyproject.toml."""
        self._fields.setdefault("instance_group", []).append(group.as_dict())

    def set_parameter(self, name: str, value: str) -> None:
        """Set a parameter. A running server ignores it."""
        self._fields.setdefault("parameters", {})[name] = {"string_value": str(value)}

    def set_field(self, name: str, value: Any) -> None:
        """Set any field of model_config.proto, such as ``model_warmup``, to its form in JSON."""
        self._fields[name] = copy.deepcopy(value)

    def _schedule(self, name: str, fields: Fields) -> None:
        present = self.scheduling
        if present not in (None, name):
            raise InvalidArgError(
                f"model '{self.name}' has {present} in its config.pbtxt and cannot get {name} too"
            )
        self._fields[name] = fields

    def _add(self, field: str, spec: TensorSpec) -> None:
        declared: list[Fields] = self._fields.setdefault(field, [])
        written = next((entry for entry in declared if entry.get("name") == spec.name), None)
        if written is None:
            declared.append(spec.as_dict())
            return
        for key, value in spec.as_dict().items():
            if not is_written(written, key):
                written[key] = value
        if (wrong := mismatch(field, spec, written)) is not None:
            raise InvalidArgError(f"model '{self.name}': {wrong}")


def is_written(entry: Mapping[str, Any], key: str) -> bool:
    """Tell whether a tensor's entry says something of a field; a server fills in defaults."""
    return key in entry and entry[key] not in ("TYPE_INVALID", [], "")


def mismatch(field: str, spec: TensorSpec, written: Mapping[str, Any]) -> str | None:
    """Say where a written tensor lets through what the declared one does not; None if it does not.

    It may be narrower: a size where any is declared, required where optional is.
    """
    dtype = DataType.of(written.get("data_type", "TYPE_INVALID"))
    dims = tuple(int(dim) for dim in written.get("dims", []))
    reshape = written.get("reshape")
    shape = None if reshape is None else tuple(int(dim) for dim in reshape.get("shape", []))
    fits = (
        dtype is spec.dtype
        and len(dims) == len(spec.dims)
        and all(want in (-1, dim) for want, dim in zip(spec.dims, dims, strict=True))
        and shape == spec.reshape
        and spec.optional >= bool(written.get("optional"))
        and spec.ragged >= bool(written.get("allow_ragged_batch"))
    )
    if fits:
        return None
    found = TensorSpec(
        spec.name,
        dtype,
        dims,
        optional=bool(written.get("optional")),
        ragged=bool(written.get("allow_ragged_batch")),
        reshape=shape,
    )
    return f"config.pbtxt says that {field} '{spec.name}' is {found}, the plugin declares {spec}"


def ignored(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Name the fields that a running server does not take over from a backend."""
    changed = [key for key, value in after.items() if before.get(key) != value]
    written = any(field in before for field in SCHEDULING)
    return [key for key in changed if key not in _TAKEN_OVER or (written and key in SCHEDULING)]
