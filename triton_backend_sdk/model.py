"""A backend, its models and their instances, as a plugin sees them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

from triton_backend_sdk.dtypes import DataType
from triton_backend_sdk.enums import InstanceGroupKind
from triton_backend_sdk.errors import InvalidArgError, NotFoundError

T = TypeVar("T")
_REQUIRED: Any = object()
_BOOLEANS = {
    "true": True,
    "1": True,
    "yes": True,
    "on": True,
    "false": False,
    "0": False,
    "no": False,
    "off": False,
}


class Parameters(Mapping[str, str]):
    """The ``parameters`` of a model's config: strings, as Triton has them, with typed access.

    ``model.parameters.get_int("threads", 4)`` reads
    ``parameters { key: "threads" value { string_value: "8" } }``.
    """

    def __init__(self, values: Mapping[str, str], model: str) -> None:
        self._values = dict(values)
        self._model = model

    def __getitem__(self, name: str) -> str:
        try:
            return self._values[name]
        except KeyError:
            known = ", ".join(sorted(self._values)) or "none"
            raise NotFoundError(
                f"model '{self._model}' needs the parameter '{name}' in its config.pbtxt; it has {known}"
            ) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def get_str(self, name: str, default: str = _REQUIRED) -> str:
        """Give a parameter.

        :raises NotFoundError: it is not there and has no default.
        """
        return self._get(name, default, str, "a string")

    def get_int(self, name: str, default: int = _REQUIRED) -> int:
        """Give a parameter as an int; see :meth:`get_str`.

        :raises InvalidArgError: the value is none.
        """
        return self._get(name, default, int, "an integer")

    def get_float(self, name: str, default: float = _REQUIRED) -> float:
        """Give a parameter as a float; see :meth:`get_int`."""
        return self._get(name, default, float, "a number")

    def get_bool(self, name: str, default: bool = _REQUIRED) -> bool:
        """Give a parameter as a bool (true, false, yes, no, on, off, 1, 0); see :meth:`get_int`."""
        return self._get(name, default, lambda text: _BOOLEANS[text.strip().lower()], "a boolean")

    def _get(self, name: str, default: T, convert: Any, kind: str) -> T:
        if name not in self._values and default is not _REQUIRED:
            return default
        text = self[name]
        try:
            value: T = convert(text)
        except (ValueError, KeyError):
            raise InvalidArgError(
                f"parameter '{name}' of model '{self._model}' is '{text}'; it must be {kind}"
            ) from None
        return value


@dataclass(frozen=True)
class TensorSpec:
    """An input or output as the model's config declares it."""

    name: str
    dtype: DataType
    #: Without the batch dimension; -1 stands for any size.
    dims: tuple[int, ...]


@dataclass(eq=False)
class Backend:
    """The backend that this plugin is. See TRITONBACKEND_Backend."""

    name: str
    #: What ``--backend-config=<name>,<key>=<value>`` gave, by key.
    config: dict[str, str]
    #: Where libtriton_<name>.so and the package lie.
    directory: Path
    #: The SDK's own: Triton's functions and this object's handle; None without a server.
    _api: Any = field(default=None, repr=False)
    _handle: Any = field(default=None, repr=False)


@dataclass(eq=False)
class Model:
    """One version of a model. See TRITONBACKEND_Model."""

    name: str
    version: int
    #: The model's directory in the repository; its versions lie in it.
    directory: Path
    #: The model's config, as Triton completed it.
    config: dict[str, Any]
    backend: Backend
    #: Yours: what the instances share, such as weights.
    state: Any = field(default_factory=SimpleNamespace)
    #: The SDK's own: Triton's functions and this object's handle; None without a server.
    _api: Any = field(default=None, repr=False)
    _handle: Any = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.parameters = Parameters(
            {key: value.get("string_value", "") for key, value in self.config.get("parameters", {}).items()},
            self.name,
        )
        #: Logs to Triton's log.
        self.logger = logging.getLogger(f"triton.{self.name}")

    @property
    def version_directory(self) -> Path:
        """The directory of this version's files."""
        return self.directory / str(self.version)

    @property
    def max_batch_size(self) -> int:
        """The config's max_batch_size; 0 for a model that does not batch."""
        return int(self.config.get("max_batch_size", 0))

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The config's inputs."""
        return _specs(self.config.get("input", []))

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The config's outputs."""
        return _specs(self.config.get("output", []))


@dataclass(eq=False)
class ModelInstance:
    """One instance of a model: Triton executes one batch at a time on it. See TRITONBACKEND_ModelInstance."""

    name: str
    kind: InstanceGroupKind
    #: The device of a GPU instance; 0 otherwise.
    device_id: int
    model: Model
    #: Yours.
    state: Any = field(default_factory=SimpleNamespace)
    #: The SDK's own: Triton's functions and this object's handle; None without a server.
    _api: Any = field(default=None, repr=False)
    _handle: Any = field(default=None, repr=False)

    @property
    def logger(self) -> logging.Logger:
        """The model's logger, which writes to Triton's log."""
        return self.model.logger


def _specs(declared: list[dict[str, Any]]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(
            tensor["name"],
            DataType.of(tensor["data_type"]),
            # A reshape changes what the backend sees, not what the client sends.
            tuple(int(dim) for dim in tensor.get("reshape", tensor).get("shape", tensor["dims"])),
        )
        for tensor in declared
    )
