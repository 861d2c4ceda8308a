"""A plugin's Signature: what its models take and give, said once, in Python."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from triton_backend_sdk.enums import InstanceGroupKind
from triton_backend_sdk.errors import InvalidArgError
from triton_backend_sdk.model_config import SCHEDULING, ModelConfig, mismatch
from triton_backend_sdk.specs import (
    DynamicBatching,
    Fields,
    InstanceGroup,
    Parameter,
    SequenceBatching,
    TensorSpec,
    kind_of,
)


@dataclass(frozen=True, kw_only=True)
class Signature:
    """What a plugin's models take and give.

    One object of this class in plugin.py, or an attribute of the plugin's class, is found by its type. Then

    - a config that leaves something out is completed when the model is loaded (unless the server was told
      not to), and one that lets through what the plugin does not take makes the model UNAVAILABLE; so
      Triton itself refuses requests that do not fit, before they reach the plugin;
    - parameters are checked when the model is loaded, and have defaults;
    - ``tbsdk config`` writes the whole config.pbtxt.

    :raises InvalidArgError: it contradicts itself.
    """

    inputs: Sequence[TensorSpec]
    outputs: Sequence[TensorSpec]
    #: The most rows of a batch, which are the first dimension of every tensor; 0: no batching.
    max_batch_size: int = 0
    #: A request has any number of responses.
    decoupled: bool = False
    dynamic_batching: DynamicBatching | None = None
    sequence_batching: SequenceBatching | None = None
    parameters: Sequence[Parameter[Any]] = ()
    #: For ``tbsdk config``; a running server takes ``preferred-instance-groups`` of pyproject.toml.
    instance_groups: Sequence[InstanceGroup] = ()
    #: Answers are kept by Triton's response cache. For ``tbsdk config``.
    response_cache: bool = False
    #: Other fields of Triton's model_config.proto, in their form in JSON. For ``tbsdk config``.
    fields: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for kind, cls in (("input", TensorSpec), ("output", TensorSpec), ("parameter", Parameter)):
            items = getattr(self, f"{kind}s")
            if wrong := [item for item in items if not isinstance(item, cls)]:
                raise InvalidArgError(f"{kind}s of a Signature are {cls.__name__}s; {wrong[0]!r} is none")
            names = [item.name for item in items]
            if twice := {name for name in names if names.count(name) > 1}:
                raise InvalidArgError(f"the Signature has {kind} {', '.join(sorted(twice))} twice")
        for spec in (*self.inputs, *self.outputs):
            _check_dims(spec)
        if self.max_batch_size < 0:
            raise InvalidArgError(
                f"the Signature has max_batch_size {self.max_batch_size}; 0 means no batching"
            )
        if self.dynamic_batching is not None and self.sequence_batching is not None:
            raise InvalidArgError("the Signature has dynamic_batching and sequence_batching; keep one")
        if self.dynamic_batching is not None and not self.max_batch_size:
            raise InvalidArgError("the Signature has dynamic_batching; give it a max_batch_size too")

    def complete(self, config: ModelConfig) -> None:
        """Add what a config leaves out of all that a running server takes over.

        :raises InvalidArgError: it contradicts the Signature.
        """
        for spec in self.inputs:
            config.add_input(spec)
        for spec in self.outputs:
            config.add_output(spec)
        if not config.max_batch_size:
            config.set_max_batch_size(self.max_batch_size)
        if "model_transaction_policy" not in config.as_dict() and self.decoupled:
            config.set_decoupled()
        if config.scheduling is None and self.dynamic_batching is not None:
            config.set_dynamic_batching(self.dynamic_batching)
        if config.scheduling is None and self.sequence_batching is not None:
            config.set_sequence_batching(self.sequence_batching)

    def complete_file(self, config: ModelConfig) -> None:
        """Add all the rest, which a config.pbtxt can say and a running server does not take over."""
        self.complete(config)
        for group in self.instance_groups:
            config.add_instance_group(group)
        if self.response_cache:
            config.set_field("response_cache", {"enable": True})
        for key, value in self.fields.items():
            config.set_field(key, value)

    def check(self, config: Mapping[str, Any]) -> None:
        """Refuse a config that lets through what the plugin does not take.

        :raises InvalidArgError: says what the config and what the Signature has.
        """
        problems = [
            *_tensor_problems("input", self.inputs, config),
            *_tensor_problems("output", self.outputs, config),
            *self._problems(config),
        ]
        if problems:
            model = str(config.get("name", ""))
            raise InvalidArgError(
                f"model '{model}' does not fit its plugin: {'; '.join(problems)}; {remedy(model)}"
            )

    def _problems(self, config: Mapping[str, Any]) -> Iterable[str]:
        size = int(config.get("max_batch_size", 0))
        if size > self.max_batch_size or (size == 0) != (self.max_batch_size == 0):
            yield f"config.pbtxt has max_batch_size {size}, the plugin declares {self.max_batch_size}"
        decoupled = bool(config.get("model_transaction_policy", {}).get("decoupled"))
        if decoupled != self.decoupled:
            yield f"config.pbtxt has decoupled {decoupled}, the plugin declares {self.decoupled}"
        found = next((name for name in SCHEDULING if name in config), "no scheduling")
        if self.sequence_batching is not None and found != "sequence_batching":
            yield f"config.pbtxt has {found}, the plugin declares sequence_batching"

    def not_in(self, config: Mapping[str, Any]) -> list[str]:
        """Name what the Signature declares, a running server takes from config.pbtxt alone, and it lacks."""
        missing = [name for name in self.fields if not config.get(name)]  # a server fills in empty ones
        if self.response_cache and not config.get("response_cache", {}).get("enable"):
            missing.append("response_cache")
        wanted = [(kind_of(group.kind), group.count) for group in self.instance_groups]
        found = [(kind_of(group["kind"]), group["count"]) for group in config.get("instance_group", [])]
        if wanted and (len(wanted) != len(found) or not all(map(_is_group, wanted, found))):
            missing.append("instance_groups")
        return missing


def remedy(model: str) -> str:
    """Say what to do about a config that does not fit the plugin."""
    return f"`tbsdk config --model {model}` writes a config.pbtxt that fits"


def _is_group(wanted: tuple[InstanceGroupKind, int], found: tuple[InstanceGroupKind, int]) -> bool:
    return wanted[1] == found[1] and wanted[0] in (InstanceGroupKind.AUTO, found[0])


def _check_dims(spec: TensorSpec) -> None:
    if not spec.dims:
        raise InvalidArgError(
            f"'{spec.name}' has no dims; Triton has no scalars: take dims=[1], with reshape=[] in a batch"
        )
    if wrong := [dim for dim in spec.dims if dim < 1 and dim != -1]:
        raise InvalidArgError(f"'{spec.name}' has a dimension of {wrong[0]}; take 1 or more, or -1 for any")


def _tensor_problems(field: str, specs: Sequence[TensorSpec], config: Mapping[str, Any]) -> Iterable[str]:
    written: dict[str, Fields] = {entry["name"]: entry for entry in config.get(field, [])}
    for spec in specs:
        if spec.name in written:
            wrong = mismatch(field, spec, written[spec.name])
            if wrong is not None:
                yield wrong
        elif not spec.optional:
            yield f"config.pbtxt lacks {field} '{spec.name}', which the plugin declares as {spec}"
    known = ", ".join(spec.name for spec in specs) or "none"
    for name in written.keys() - {spec.name for spec in specs}:
        yield f"config.pbtxt has {field} '{name}', the plugin declares {known}"
