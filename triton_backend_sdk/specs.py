"""What a model's config holds, piece by piece: small typed values with the field names of Triton's schema."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from triton_backend_sdk.dtypes import DataType
from triton_backend_sdk.enums import InstanceGroupKind
from triton_backend_sdk.errors import InvalidArgError

T = TypeVar("T", str, int, float, bool)
Fields = dict[str, Any]


@dataclass(frozen=True, init=False)
class TensorSpec:
    """An input or output of a model: its name, datatype and shape."""

    name: str
    dtype: DataType
    #: Without the batch dimension; -1 stands for any size.
    dims: tuple[int, ...]
    #: A request may leave the input out.
    optional: bool
    #: Requests of one batch may differ in their shapes (``allow_ragged_batch``).
    ragged: bool
    #: What the plugin sees, where that differs from what clients send.
    reshape: tuple[int, ...] | None
    #: Of an output: a file beside config.pbtxt that names classes.
    label_filename: str

    def __init__(
        self,
        name: str,
        dtype: Any,
        dims: Sequence[int],
        *,
        optional: bool = False,
        ragged: bool = False,
        reshape: Sequence[int] | None = None,
        label_filename: str = "",
    ) -> None:
        """Take the datatype by any name that :meth:`DataType.of` knows: ``"FP32"``, ``np.float32``, ...

        :raises InvalidArgError: Triton has no such datatype.
        """
        values = {
            "name": name,
            "dtype": DataType.of(dtype),
            "dims": tuple(int(dim) for dim in dims),
            "optional": optional,
            "ragged": ragged,
            "reshape": None if reshape is None else tuple(int(dim) for dim in reshape),
            "label_filename": label_filename,
        }
        for key, value in values.items():
            object.__setattr__(self, key, value)  # frozen for everybody else

    def __str__(self) -> str:
        marks = ", optional" * self.optional + ", ragged" * self.ragged
        return f"{self.dtype} {list(self.dims)}{marks}"

    def as_dict(self) -> Fields:
        """Give the entry of a config's ``input`` or ``output``."""
        fields: Fields = {
            "name": self.name,
            "data_type": self.dtype.config_name,
            "dims": list(self.dims),
            "optional": self.optional,
            "allow_ragged_batch": self.ragged,
            "label_filename": self.label_filename,
        }
        if self.reshape is not None:
            fields["reshape"] = {"shape": list(self.reshape)}
        return _set_only(fields, keep=("name", "data_type", "dims", "reshape"))


@dataclass(frozen=True)
class Parameter(Generic[T]):
    """A parameter of a model, with its type: ``SCALE = Parameter("scale", float, 1.0, "the factor")``.

    ``model.parameters.read(SCALE)`` gives its value.
    """

    name: str
    kind: type[T]
    #: None: a config has to give the value.
    default: T | None = None
    #: One line for whoever writes a config; ``tbsdk config`` makes it a comment.
    description: str = ""

    def __post_init__(self) -> None:
        if self.kind not in (str, int, float, bool):
            raise InvalidArgError(f"parameter '{self.name}' is of {self.kind}; take str, int, float or bool")
        fits = type(self.default) in (self.kind, type(None)) or (
            self.kind is float and type(self.default) is int
        )
        if not fits:
            wanted = self.kind.__name__
            raise InvalidArgError(f"parameter '{self.name}' is of {wanted}; its default is {self.default!r}")

    def text(self) -> str:
        """Give the default as a config has it; empty without one."""
        if isinstance(self.default, bool):
            return str(self.default).lower()
        return "" if self.default is None else str(self.kind(self.default))


@dataclass(frozen=True)
class InstanceGroup:
    """Instances of a model. See ``ModelInstanceGroup`` in Triton's model_config.proto."""

    #: An InstanceGroupKind, or its name: ``"cpu"``, ``"gpu"``, ``"auto"``, ``"model"``.
    kind: InstanceGroupKind | str = InstanceGroupKind.AUTO
    #: Per device, for the kind GPU.
    count: int = 1
    gpus: Sequence[int] = ()
    name: str = ""
    #: Passive instances are made, and never execute.
    passive: bool = False
    profile: Sequence[str] = ()
    host_policy: str = ""

    def as_dict(self) -> Fields:
        """Give the entry of a config's ``instance_group``."""
        return _set_only(
            {
                "name": self.name,
                "kind": f"KIND_{kind_of(self.kind).name}",
                "count": self.count,
                "gpus": list(self.gpus),
                "passive": self.passive,
                "profile": list(self.profile),
                "host_policy": self.host_policy,
            }
        )


def kind_of(kind: InstanceGroupKind | str) -> InstanceGroupKind:
    """Give an instance group's kind by its name.

    :raises InvalidArgError: there is no such kind.
    """
    if isinstance(kind, InstanceGroupKind):
        return kind
    name = str(kind).upper().removeprefix("KIND_")
    if name not in InstanceGroupKind.__members__:
        known = ", ".join(member.name.lower() for member in InstanceGroupKind)
        raise InvalidArgError(f"there is no kind of instance {kind!r}; there are {known}")
    return InstanceGroupKind[name]


@dataclass(frozen=True)
class QueuePolicy:
    """What becomes of requests that wait too long. See ``ModelQueuePolicy``."""

    timeout_action: Literal["REJECT", "DELAY"] = "REJECT"
    default_timeout_microseconds: int = 0
    allow_timeout_override: bool = False
    max_queue_size: int = 0

    def as_dict(self) -> Fields:
        """Give a config's queue policy."""
        return _set_only(vars(self) | {"timeout_action": self.timeout_action})


@dataclass(frozen=True)
class DynamicBatching:
    """How Triton joins requests into batches. See ``ModelDynamicBatching``; the defaults are Triton's."""

    preferred_batch_size: Sequence[int] = ()
    max_queue_delay_microseconds: int = 0
    preserve_ordering: bool = False
    priority_levels: int = 0
    default_priority_level: int = 0
    default_queue_policy: QueuePolicy | None = None

    def as_dict(self) -> Fields:
        """Give a config's ``dynamic_batching``."""
        fields = _set_only(vars(self) | {"preferred_batch_size": list(self.preferred_batch_size)})
        if self.default_queue_policy is not None:
            fields["default_queue_policy"] = self.default_queue_policy.as_dict()
        return fields


@dataclass(frozen=True)
class SequenceControl:
    """An input by which Triton tells where a sequence stands. See ``ModelSequenceBatching.ControlInput``."""

    name: str
    kind: Literal["START", "END", "READY", "CORRID"]
    #: INT32, FP32 or BOOL for the flags; the datatype of the correlation id for CORRID.
    dtype: Any = "INT32"

    def as_dict(self) -> Fields:
        """Give the entry of a config's ``control_input``."""
        dtype = DataType.of(self.dtype)
        fields: Fields = {"kind": f"CONTROL_SEQUENCE_{self.kind}"}
        if self.kind == "CORRID":
            fields["data_type"] = dtype.config_name
        elif dtype in (DataType.INT32, DataType.FP32, DataType.BOOL):
            fields[f"{dtype.value.lower()}_false_true"] = [False, True] if dtype == "BOOL" else [0, 1]
        else:
            raise InvalidArgError(f"sequence control '{self.name}' is {dtype}; take INT32, FP32 or BOOL")
        return {"name": self.name, "control": [fields]}


@dataclass(frozen=True)
class SequenceState:
    """A state that Triton keeps between a sequence's requests. See ``ModelSequenceBatching.State``."""

    input_name: str
    output_name: str
    dtype: Any
    dims: Sequence[int]

    def as_dict(self) -> Fields:
        """Give the entry of a config's ``state``, which starts as zeros."""
        dtype, dims = DataType.of(self.dtype).config_name, list(self.dims)
        known = [1 if dim < 0 else dim for dim in dims]
        initial = {
            "name": f"{self.input_name} at start",
            "data_type": dtype,
            "dims": known,
            "zero_data": True,
        }
        names = {"input_name": self.input_name, "output_name": self.output_name}
        return names | {"data_type": dtype, "dims": dims, "initial_state": [initial]}


@dataclass(frozen=True)
class SequenceBatching:
    """Requests that belong together go to one instance. See ``ModelSequenceBatching``."""

    strategy: Literal["direct", "oldest"] = "direct"
    max_sequence_idle_microseconds: int = 0
    controls: Sequence[SequenceControl] = ()
    states: Sequence[SequenceState] = ()
    #: A request may be rescheduled until its work is done.
    iterative_sequence: bool = False
    #: Of the strategy "oldest": how many sequences an instance works on at a time.
    max_candidate_sequences: int = 0

    def as_dict(self) -> Fields:
        """Give a config's ``sequence_batching``."""
        strategy = _set_only({"max_candidate_sequences": self.max_candidate_sequences})
        fields = {
            "max_sequence_idle_microseconds": self.max_sequence_idle_microseconds,
            "control_input": [control.as_dict() for control in self.controls],
            "state": [state.as_dict() for state in self.states],
            "iterative_sequence": self.iterative_sequence,
        }
        return {self.strategy: strategy} | _set_only(fields)


def _set_only(fields: Fields, keep: Sequence[str] = ()) -> Fields:
    """Leave out what has its default, as a person who writes a config does."""
    return {key: value for key, value in fields.items() if value or key in keep}
