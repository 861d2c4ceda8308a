"""``MetricFamily`` and ``Metric`` of ``triton_python_backend_utils``, over the model's own metrics.

A family's metrics are on the endpoint as long as the family object is: until it is collected, or its model
ends. Families of one name, in any model, share their lines, and a line goes with the last that has it.
"""

from __future__ import annotations

import enum
import json
from typing import TYPE_CHECKING, Any, ClassVar

from triton_backend_sdk import Counter, Gauge, Histogram, TritonError
from triton_backend_sdk.python_backend.owner import current
from triton_backend_sdk.python_backend.pb_error import TritonModelException, text

if TYPE_CHECKING:
    from triton_backend_sdk import Metrics
    from triton_backend_sdk.python_backend.owner import PythonModel

_GONE = (
    "Invalid metric operation as the corresponding 'MetricFamily' has been deleted. The 'MetricFamily' "
    "object should be deleted AFTER its corresponding 'Metric' objects have been deleted."
)

_ONLY_GROWS = "TRITONSERVER_METRIC_KIND_COUNTER can only be incremented monotonically by non-negative values."


class MetricKind(enum.Enum):
    """What a family counts."""

    COUNTER = 0
    GAUGE = 1
    HISTOGRAM = 2

    def __int__(self) -> int:
        return int(self.value)

    __index__ = __int__


_TYPES: dict[MetricKind, type[Counter | Gauge | Histogram]] = {
    MetricKind.COUNTER: Counter,
    MetricKind.GAUGE: Gauge,
    MetricKind.HISTOGRAM: Histogram,
}


class Metric:
    """One line of a family, or a histogram's lines: ``family.Metric(labels)`` makes it."""

    __slots__ = ("__weakref__", "_kind", "_metric")

    #: The SDK's; None once the family is gone.
    _metric: Any
    _kind: MetricKind

    def __init__(self) -> None:
        raise TypeError("Metric: No constructor defined! MetricFamily.Metric() makes it")

    def increment(self, value: float, /) -> None:
        """Add to a counter or gauge; a gauge takes negative values too.

        :raises TritonModelException: a histogram has none, a counter only grows, or the family is gone.
        """
        number = _number("increment", value)
        try:
            metric = self._checked("Increment", MetricKind.COUNTER, MetricKind.GAUGE)
            if number < 0 and self._kind is MetricKind.COUNTER:
                raise TritonModelException(_ONLY_GROWS)
            metric.increment(number)
        except (TritonError, TritonModelException) as error:
            raise TritonModelException(f"Failed to increment metric value: {error}") from None

    def set(self, value: float, /) -> None:
        """Set a gauge.

        :raises TritonModelException: another kind has no such thing, or the family is gone.
        """
        number = _number("set", value)
        try:
            self._checked("Set", MetricKind.GAUGE).set(number)
        except (TritonError, TritonModelException) as error:
            raise TritonModelException(f"Failed to set metric value: {error}") from None

    def observe(self, value: float, /) -> None:
        """Give a histogram a value.

        :raises TritonModelException: another kind has no such thing, or the family is gone.
        """
        number = _number("observe", value)
        try:
            self._checked("Observe", MetricKind.HISTOGRAM).observe(number)
        except (TritonError, TritonModelException) as error:
            raise TritonModelException(f"Failed to observe metric value: {error}") from None

    def value(self) -> float:
        """Give a counter's or gauge's value.

        :raises TritonModelException: a histogram has none, or the family is gone.
        """
        try:
            return float(self._checked("Value", MetricKind.COUNTER, MetricKind.GAUGE).value)
        except (TritonError, TritonModelException) as error:
            raise TritonModelException(f"Failed to get metric value: {error}") from None

    def _checked(self, operation: str, *kinds: MetricKind) -> Any:
        if self._metric is None:
            raise TritonModelException(_GONE)
        if self._kind not in kinds:
            raise TritonModelException(
                f"TRITONSERVER_METRIC_KIND_{self._kind.name} does not support {operation}"
            )
        return self._metric


_Metric = Metric


class MetricFamily:
    """Metrics of one name, which differ in their labels.

    :raises TritonModelException: the name is none, or the server has it with another kind.
    """

    __slots__ = ("__weakref__", "_description", "_given", "_kind", "_made", "_name")

    COUNTER: ClassVar = MetricKind.COUNTER
    GAUGE: ClassVar = MetricKind.GAUGE
    HISTOGRAM: ClassVar = MetricKind.HISTOGRAM
    _given: Metrics
    _made: list[_Metric]

    def __init__(self, name: str, description: str, kind: MetricKind) -> None:
        self._name = text("MetricFamily", "name", name)
        self._description = text("MetricFamily", "description", description)
        if not isinstance(kind, MetricKind):
            raise TypeError(
                "MetricFamily(): incompatible function arguments: kind must be MetricFamily.COUNTER, GAUGE "
                f"or HISTOGRAM, not {kind!r}"
            )
        self._kind = kind
        self._made = []
        self._given = self._metrics()
        try:
            self._given.declare(_TYPES[kind], self._name, self._description, strict=False)
        except TritonError as error:
            raise TritonModelException(f"Error when creating MetricFamily: {_reason(error)}") from None

    @staticmethod
    def _metrics() -> Metrics:
        """Give the metrics of the model that asks; a model's own utils have a class that knows them."""
        return current().model.metrics

    def Metric(self, labels: dict[str, str] | None = None, buckets: list[float] | None = None) -> _Metric:  # noqa: N802
        """Give the metric with these labels; asked again, another object that feeds the same line.

        :param buckets: of a histogram, and needed there: the upper bounds, ascending.
        :raises TritonModelException: an argument is not what it must be.
        """
        texts = _labels(labels)
        bounds = _bounds(self._kind, buckets)
        made = _Metric.__new__(_Metric)
        made._kind = self._kind
        try:
            made._metric = self._ask(texts, bounds)
        except TritonError as error:
            raise TritonModelException(f"Error when creating Metric: {_reason(error)}") from None
        self._made.append(made)
        return made

    def _ask(self, labels: dict[str, str], bounds: list[float]) -> Counter | Gauge | Histogram:
        what = self._name, self._description
        if self._kind is MetricKind.COUNTER:
            return self._given.counter(*what, labels=labels, shared=True, strict=False)
        if self._kind is MetricKind.GAUGE:
            return self._given.gauge(*what, labels=labels, shared=True, strict=False)
        return self._given.histogram(*what, labels=labels, buckets=bounds, shared=True, strict=False)

    def __del__(self) -> None:
        for made in getattr(self, "_made", ()):
            metric, made._metric = made._metric, None
            self._given.release(metric)


def _reason(error: TritonError) -> BaseException:
    """Give Triton's own words where the SDK's follow from them."""
    return error.__cause__ or error


def _labels(labels: Any) -> dict[str, str]:
    if labels is None:
        return {}
    if not isinstance(labels, dict):
        raise TritonModelException("Failed to create metric. Labels must be a dictionary.")
    read: dict[str, Any] = json.loads(json.dumps(labels))  # as the stock backend sends them: keys become str
    if not all(isinstance(value, str) for value in read.values()):
        raise TritonModelException("Error when creating Metric: attempt to access JSON non-string as string")
    return read


def _bounds(kind: MetricKind, buckets: Any) -> list[float]:
    fault = None
    if buckets is None:
        fault = "Missing required buckets." if kind is MetricKind.HISTOGRAM else None
    elif not isinstance(buckets, list):
        fault = "Buckets must be a list."
    elif kind is not MetricKind.HISTOGRAM:
        fault = "Unexpected buckets found."
    if fault:
        raise TritonModelException(f"Failed to create metric. {fault}")
    return [float(bound) for bound in buckets or []]


def _number(function: str, value: Any) -> float:
    if isinstance(value, (float, int)):
        return value
    if hasattr(value, "__float__") or hasattr(value, "__index__"):
        return float(value)
    raise TypeError(f"{function}(): incompatible function arguments: value must be a number, not {value!r}")


def names(owner: PythonModel | None) -> dict[str, Any]:
    """Give what the utils module has of this file."""
    if owner is None:
        return {"MetricFamily": MetricFamily}
    metrics = owner.model.metrics
    space = {"__slots__": (), "_metrics": staticmethod(lambda: metrics)}
    return {"MetricFamily": type("MetricFamily", (MetricFamily,), space)}
