"""The families of metrics in a process, whoever keeps them: Triton, or the fake host of the tests."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, Protocol

from triton_backend_sdk.enums import MetricKind
from triton_backend_sdk.errors import InternalError, TritonError, UnsupportedError


@dataclass(frozen=True)
class MetricSpec:
    """What a model asks for."""

    kind: MetricKind
    name: str
    description: str
    labels: dict[str, str]
    #: Of a histogram.
    buckets: tuple[float, ...] | None
    #: It must be like the others of its family.
    strict: bool = True

    def __str__(self) -> str:
        return self.name + "{" + ", ".join(f"{key}={value!r}" for key, value in self.labels.items()) + "}"


class Series(Protocol):
    """One line of the metrics endpoint: in the server C (``_ffi/src/metric.c``)."""

    def increment(self, value: float, /) -> None:
        """Add to a counter or gauge."""

    def set(self, value: float, /) -> None:
        """Set a gauge."""

    def observe(self, value: float, /) -> None:
        """Give a histogram a value."""

    def value(self) -> float:
        """Read a counter or gauge."""

    def delete(self) -> None:
        """Take it off the endpoint; from now on the others raise an InternalError."""


class Store(Protocol):
    """What keeps families and series: Triton, or the fake host of the tests."""

    def new_family(self, kind: MetricKind, name: str, description: str) -> Any:
        """Make a family."""

    def delete_family(self, family: Any) -> None:
        """Delete a family that has no series."""

    def new_series(self, family: Any, spec: MetricSpec) -> Series:
        """Make a series in a family."""


@dataclass
class _Family:
    kind: MetricKind
    label_names: frozenset[str]
    buckets: tuple[float, ...] | None
    handle: Any
    users: int = 0

    def check(self, spec: MetricSpec) -> None:
        name, names = spec.name, set(spec.labels)
        if self.kind is not spec.kind:
            raise InternalError(
                f"metric '{name}' is a {self.kind.word} here already, and cannot be a {spec.kind.word}"
            )
        if not spec.strict:
            return
        if self.label_names != names:
            known, given = sorted(self.label_names), sorted(names)
            raise InternalError(
                f"metric '{name}' has the labels {known} here already, not {given}; a name has one set"
            )
        if self.buckets != spec.buckets:
            raise InternalError(
                f"metric '{name}' has the buckets {self.buckets} here already, not {spec.buckets}"
            )


class MetricRegistry:
    """The families of a process, each as long as it has a metric."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._families: dict[str, _Family] = {}
        self._lock = threading.Lock()

    def declare(self, spec: MetricSpec) -> None:
        """Have Triton check a family's name and kind, and remember its description; no series is made.

        :raises InternalError: Triton takes no such family.
        """
        with self._lock:
            self._store.delete_family(self._new_family(spec))

    def add(self, spec: MetricSpec) -> Series:
        """Make one series, and its family where this is the first.

        :raises InternalError: the family is of another kind, or has other labels or buckets.
        """
        name = spec.name
        with self._lock:
            if name not in self._families:
                handle = self._new_family(spec)
                self._families[name] = _Family(spec.kind, frozenset(spec.labels), spec.buckets, handle)
            family = self._families[name]
            try:
                family.check(spec)
                series = self._store.new_series(family.handle, spec)
                family.users += 1
            finally:
                self._drop_unused(name)
            return series

    def check(self, spec: MetricSpec) -> None:
        """Compare with the family that is there; see :meth:`add`."""
        with self._lock:
            self._families[spec.name].check(spec)

    def remove(self, name: str, series: Series) -> None:
        """Delete a series; its family goes with the last."""
        with self._lock:
            family = self._families[name]
            try:
                series.delete()
            finally:
                family.users -= 1
                self._drop_unused(name)

    def _new_family(self, spec: MetricSpec) -> Any:
        try:
            return self._store.new_family(spec.kind, spec.name, spec.description)
        except UnsupportedError:
            raise
        except TritonError as error:
            raise InternalError(
                f"Triton takes no {spec.kind.word} named '{spec.name}': {error}; a name keeps its kind "
                "until the server ends, even when its models are unloaded"
            ) from error

    def _drop_unused(self, name: str) -> None:
        if self._families[name].users == 0:
            self._store.delete_family(self._families.pop(name).handle)
