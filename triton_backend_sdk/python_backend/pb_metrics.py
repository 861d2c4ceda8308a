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


#: Where the stock backend has these classes: models print it.
_MODULE = "c_python_backend_utils"


class MetricKind(enum.Enum):
    """What a family counts."""

    COUNTER = 0
    GAUGE = 1
    HISTOGRAM = 2

    def __int__(self) -> int:
        return int(self.value)

    __index__ = __int__


MetricKind.__module__ = _MODULE
_TYPES: dict[MetricKind, type[Counter | Gauge | Histogram]] = {
    MetricKind.COUNTER: Counter,
    MetricKind.GAUGE: Gauge,
    MetricKind.HISTOGRAM: Histogram,
}


class Metric:
    """One line of a family, or a histogram's lines: ``family.Metric(labels)`` makes it."""

    __slots__ = ("__weakref__", "_kind", "_metric", "_prefix")
    __module__ = _MODULE

    #: The SDK's; None once the family is gone.
    _metric: Any
    _kind: MetricKind
    #: Of a message from Triton, as the stock backend has it.
    _prefix: str

    def __init__(self) -> None:
        raise TypeError(f"{_MODULE}.Metric: No constructor defined!")

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
            raise self._failed("increment", error) from None

    def set(self, value: float, /) -> None:
        """Set a gauge.

        :raises TritonModelException: another kind has no such thing, or the family is gone.
        """
        number = _number("set", value)
        try:
            self._checked("Set", MetricKind.GAUGE).set(number)
        except (TritonError, TritonModelException) as error:
            raise self._failed("set", error) from None

    def observe(self, value: float, /) -> None:
        """Give a histogram a value.

        :raises TritonModelException: another kind has no such thing, or the family is gone.
        """
        number = _number("observe", value)
        try:
            self._checked("Observe", MetricKind.HISTOGRAM).observe(number)
        except (TritonError, TritonModelException) as error:
            raise self._failed("observe", error) from None

    def value(self) -> float:
        """Give a counter's or gauge's value.

        :raises TritonModelException: a histogram has none, or the family is gone.
        """
        try:
            return float(self._checked("Value", MetricKind.COUNTER, MetricKind.GAUGE).value)
        except (TritonError, TritonModelException) as error:
            raise self._failed("get", error) from None

    def _failed(self, verb: str, error: Exception) -> TritonModelException:
        said = _GONE if self._metric is None else f"{self._prefix}{error}"
        return TritonModelException(f"Failed to {verb} metric value: {said}")

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

    __slots__ = ("__weakref__", "_description", "_given", "_kind", "_made", "_name", "_prefix")
    __module__ = _MODULE

    COUNTER: ClassVar = MetricKind.COUNTER
    GAUGE: ClassVar = MetricKind.GAUGE
    HISTOGRAM: ClassVar = MetricKind.HISTOGRAM
    _given: Metrics
    #: By their labels.
    _made: dict[frozenset[tuple[str, str]], _Metric]

    def __init__(self, name: str, description: str, kind: MetricKind) -> None:
        self._name = text("MetricFamily", "name", name)
        self._description = text("MetricFamily", "description", description)
        if not isinstance(kind, MetricKind):
            raise TypeError(
                "MetricFamily(): incompatible function arguments: kind must be MetricFamily.COUNTER, GAUGE "
                f"or HISTOGRAM, not {kind!r}"
            )
        self._kind = kind
        self._made = {}
        asking, self._given = self._owner()
        self._prefix = f"Failed to process the request for model '{asking}', message: "
        try:
            self._given.declare(_TYPES[kind], self._name, self._description, strict=False)
        except TritonError as error:
            raise self._failed("MetricFamily", error) from None

    @staticmethod
    def _owner() -> tuple[str, Metrics]:
        """Give the name and the metrics of who asks; a model's own utils have a class that knows them."""
        owner = current()
        return owner.name, owner.model.metrics

    def Metric(self, labels: dict[str, str] | None = None, buckets: list[float] | None = None) -> _Metric:  # noqa: N802
        """Give the metric with these labels; asked again, the same.

        :param buckets: of a histogram, and needed there: the upper bounds, ascending.
        :raises TritonModelException: an argument is not what it must be.
        """
        if labels is not None and not isinstance(labels, dict):
            raise TritonModelException("Failed to create metric. Labels must be a dictionary.")
        # As the stock backend sends them: keys become str.
        texts: dict[str, Any] = json.loads(json.dumps(labels or {}))
        bounds = _bounds(self._kind, buckets)
        if not all(isinstance(value, str) for value in texts.values()):
            raise self._failed("Metric", "attempt to access JSON non-string as string")
        key = frozenset(texts.items())
        if (made := self._made.get(key)) is None:
            new = self._make(texts, bounds)
            made = self._made.setdefault(key, new)
            if made is not new:  # another thread was faster
                self._given.release(new._metric)
        return made

    def _make(self, labels: dict[str, str], bounds: list[float]) -> _Metric:
        made = _Metric.__new__(_Metric)
        made._kind, made._prefix = self._kind, self._prefix
        try:
            made._metric = self._ask(labels, bounds)
        except TritonError as error:
            raise self._failed("Metric", error) from None
        return made

    def _failed(self, what: str, error: TritonError | str) -> TritonModelException:
        # Triton's own words, where the SDK's follow from them.
        said = error if isinstance(error, str) else error.__cause__ or error
        return TritonModelException(f"Error when creating {what}: {self._prefix}{said}")

    def _ask(self, labels: dict[str, str], bounds: list[float]) -> Counter | Gauge | Histogram:
        what = self._name, self._description
        if self._kind is MetricKind.COUNTER:
            return self._given.counter(*what, labels=labels, shared=True, strict=False)
        if self._kind is MetricKind.GAUGE:
            return self._given.gauge(*what, labels=labels, shared=True, strict=False)
        return self._given.histogram(*what, labels=labels, buckets=bounds, shared=True, strict=False)

    def __del__(self) -> None:
        for made in getattr(self, "_made", {}).values():
            metric, made._metric = made._metric, None
            self._given.release(metric)


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
    found: dict[str, Any] = {"Metric": Metric, "MetricKind": MetricKind, "MetricFamily": MetricFamily}
    if owner is not None:
        named = owner.name, owner.model.metrics
        space = {"__slots__": (), "__module__": _MODULE, "_owner": staticmethod(lambda: named)}
        found["MetricFamily"] = type("MetricFamily", (MetricFamily,), space)
    return found
