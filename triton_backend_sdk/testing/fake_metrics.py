"""The metrics of a plugin under test, kept as numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from triton_backend_sdk.enums import MetricKind
from triton_backend_sdk.errors import InternalError, InvalidArgError
from triton_backend_sdk.metric_registry import MetricSpec


@dataclass
class FakeSeries:
    """One metric: what Triton would show, and the values that a histogram was given."""

    name: str
    kind: MetricKind
    labels: dict[str, str]
    number: float = 0.0
    observed: list[float] = field(default_factory=list)
    deleted: bool = False

    def increment(self, value: float, /) -> None:
        """See :meth:`Counter.increment`."""
        self._check()
        if self.kind is MetricKind.COUNTER and value < 0:
            raise InvalidArgError(f"metric {self.name}: a counter only grows")
        if math.isnan(value):
            raise InvalidArgError(f"metric {self.name}: adding nan would leave nothing else")
        self.number += value

    def set(self, value: float, /) -> None:
        """See :meth:`Gauge.set`."""
        self._check()
        self.number = float(value)

    def observe(self, value: float, /) -> None:
        """See :meth:`Histogram.observe`."""
        self._check()
        self.observed.append(float(value))

    def value(self) -> float:
        """See :attr:`Counter.value`."""
        self._check()
        return self.number

    def delete(self) -> None:
        """Its model is gone."""
        self.deleted = True

    def _check(self) -> None:
        if self.deleted:
            raise InternalError(f"metric {self.name} is gone: its model was unloaded")


class FakeStore:
    """A process of its own for each fake host."""

    def __init__(self) -> None:
        #: The metrics that are there, by family.
        self.families: dict[str, list[FakeSeries]] = {}
        #: A name keeps its kind, as in Triton.
        self._kinds: dict[str, MetricKind] = {}

    def new_family(self, kind: MetricKind, name: str, description: str) -> Any:
        """Make a family, or give the one of that name.

        :raises InvalidArgError: it was of another kind before.
        """
        if self._kinds.setdefault(name, kind) is not kind:
            raise InvalidArgError("Family name already exists with different type")
        self.families.setdefault(name, [])
        return kind, name

    def delete_family(self, family: Any) -> None:
        """Forget a family, unless another handle of it has metrics."""
        if all(series.deleted for series in self.families.get(family[1], [])):
            self.families.pop(family[1], None)

    def new_series(self, family: Any, spec: MetricSpec) -> FakeSeries:
        """Make a metric."""
        series = FakeSeries(str(spec), spec.kind, spec.labels)
        self.families[family[1]].append(series)
        return series

    def series(self, name: str, labels: Mapping[str, str]) -> FakeSeries:
        """Find a metric by its name and some of its labels.

        :raises KeyError: there is none, or more than one.
        """
        found = [
            one
            for one in self.families.get(name, [])
            if labels.items() <= one.labels.items() and not one.deleted
        ]
        if len(found) != 1:
            known = [one.name for series in self.families.values() for one in series if not one.deleted]
            raise KeyError(f"{len(found)} metrics {name} with {dict(labels)}; there are {known}")
        return found[0]
