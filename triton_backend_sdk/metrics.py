"""Counters, gauges and histograms on Triton's metrics endpoint, owned by the model that asks for them.

A family (one name) belongs to the process: every model that asks for it shares it. A metric (one set of
labels in it) belongs to a model and is deleted when that is gone, before its family is: a reload leaves no
metric that nobody feeds, and Triton never has one whose family is gone.
"""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Mapping, Sequence
from typing import TypeVar

from triton_backend_sdk.enums import MetricKind
from triton_backend_sdk.errors import InternalError
from triton_backend_sdk.metric_registry import MetricRegistry, MetricSpec, Series

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")
#: Of Triton's own metrics: a family of that name would be merged with them.
_TRITONS = "nv_"


class Metric:
    """What counters, gauges and histograms have in common. See TRITONSERVER_Metric.

    Thread-safe. Using one whose model was unloaded raises an InternalError.
    """

    __slots__ = ("_series", "labels", "name")

    def __init__(self, name: str, labels: Mapping[str, str], series: Series) -> None:
        self.name = name
        #: All its labels, ``model`` and ``version`` included.
        self.labels = dict(labels)
        self._series = series

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {self.labels}>"


class Counter(Metric):
    """A number that only grows, such as tokens made so far."""

    __slots__ = ()

    def increment(self, value: float = 1.0) -> None:
        """Add a value. See TRITONSERVER_MetricIncrement.

        :raises InvalidArgError: it is negative, or nan.
        """
        self._series.increment(value)

    @property
    def value(self) -> float:
        """The sum so far, over all models that share the labels. See TRITONSERVER_MetricValue."""
        return self._series.value()


class Gauge(Metric):
    """A number that goes up and down, such as the entries of a cache."""

    __slots__ = ()

    def set(self, value: float) -> None:
        """Set it. See TRITONSERVER_MetricSet."""
        self._series.set(value)

    def increment(self, value: float = 1.0) -> None:
        """Add a value, which may be negative. See TRITONSERVER_MetricIncrement."""
        self._series.increment(value)

    def decrement(self, value: float = 1.0) -> None:
        """Take a value away."""
        self._series.increment(-value)

    @property
    def value(self) -> float:
        """What it stands at. See TRITONSERVER_MetricValue."""
        return self._series.value()


class Histogram(Metric):
    """Counts of observed values by size, such as seconds that a stage took."""

    __slots__ = ()

    def observe(self, value: float) -> None:
        """Count a value in its bucket, and add it to the sum. See TRITONSERVER_MetricObserve."""
        self._series.observe(value)


AnyMetric = TypeVar("AnyMetric", Counter, Gauge, Histogram)
_KINDS: dict[type[Metric], MetricKind] = {
    Counter: MetricKind.COUNTER,
    Gauge: MetricKind.GAUGE,
    Histogram: MetricKind.HISTOGRAM,
}


class _Exclusive:
    """A lock that raises where its own thread has it: Python may run a ``__del__`` at any moment."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._held = False

    def __enter__(self) -> None:
        self._lock.acquire()
        if self._held:
            self._lock.release()
            raise InternalError(
                "metrics are made or deleted at this very moment: a __del__ must not ask for any"
            )
        self._held = True

    def __exit__(self, *exception: object) -> None:
        self._held = False
        self._lock.release()


#: One for all models: a ``__del__`` that runs under it may know another model.
_exclusive = _Exclusive()


class Metrics:
    """The metrics of one model: ``model.metrics``. See TRITONSERVER_MetricFamilyNew, TRITONSERVER_MetricNew.

    Ask for a metric once, in ``model_initialize`` or ``initialize``, and keep it; asking again with the same
    name and labels gives the same object, so that all instances of a model count together.

    Each carries the labels ``model`` and ``version``, as Triton's own do, unless ``shared`` says that all
    models feed one. Names are Prometheus names: letters, digits, ``_`` and ``:``.
    """

    def __init__(self, registry: MetricRegistry | None = None, model: str = "", version: int = 1) -> None:
        self._registry = registry
        self._own_labels = {"model": model, "version": str(version)}
        self._metrics: dict[tuple[str, frozenset[tuple[str, str]]], Metric] = {}

    def counter(
        self, name: str, description: str, *, labels: Mapping[str, str] | None = None, shared: bool = False
    ) -> Counter:
        """Give a counter.

        :param description: the HELP line; the first that a family gets stays.
        :param labels: name to value.
        :param shared: leave out the labels ``model`` and ``version``: all models that ask feed one metric.
        :raises InternalError: the process has the name with another kind, other label names or other
            buckets; or the name is none that Prometheus takes, or begins with ``nv_``, as Triton's own do.
        :raises UnsupportedError: this Triton was built without metrics.
        """
        return self._get(Counter, name, description, self._labels(labels, shared=shared))

    def gauge(
        self, name: str, description: str, *, labels: Mapping[str, str] | None = None, shared: bool = False
    ) -> Gauge:
        """Give a gauge; arguments and errors are counter's."""
        return self._get(Gauge, name, description, self._labels(labels, shared=shared))

    def histogram(
        self,
        name: str,
        description: str,
        *,
        buckets: Sequence[float],
        labels: Mapping[str, str] | None = None,
        shared: bool = False,
    ) -> Histogram:
        """Give a histogram; further arguments and errors are counter's.

        :param buckets: the upper bounds, ascending; that of everything else (+Inf) is added.
        :raises UnsupportedError: this Triton is too old for histograms.
        """
        bounds = tuple(float(bound) for bound in buckets)
        if not bounds or any(high <= low for low, high in itertools.pairwise(bounds)):
            raise InternalError(f"metric '{name}': buckets must ascend, and be at least one; got {bounds}")
        return self._get(Histogram, name, description, self._labels(labels, shared=shared), bounds)

    def close(self) -> None:
        """Delete them all: the model is gone."""
        with _exclusive:
            registry, self._registry = self._registry, None
            metrics, self._metrics = list(self._metrics.values()), {}
            for metric in metrics:
                assert registry is not None
                registry.remove(metric.name, metric._series)

    def _labels(self, labels: Mapping[str, str] | None, *, shared: bool) -> dict[str, str]:
        given = {str(key): str(value) for key, value in (labels or {}).items()}
        return given if shared else {**self._own_labels, **given}

    def _get(
        self,
        cls: type[AnyMetric],
        name: str,
        description: str,
        labels: dict[str, str],
        buckets: tuple[float, ...] | None = None,
    ) -> AnyMetric:
        _check_names(name, labels)
        key = name, frozenset(labels.items())
        with _exclusive:
            if self._registry is None:
                raise InternalError(f"metric '{name}': the model is unloaded, or has no server")
            metric = self._metrics.get(key)
            spec = MetricSpec(_KINDS[cls], name, description, labels, buckets)
            if metric is None:
                metric = cls(name, labels, self._registry.add(spec))
                self._metrics[key] = metric
            self._registry.check(spec)
            assert isinstance(metric, cls)
            return metric


def _check_names(name: str, labels: Mapping[str, str]) -> None:
    if not _NAME.fullmatch(name):
        raise InternalError(f"metric '{name}': a name has letters, digits, _ and :, and no digit first")
    if name.startswith(_TRITONS):
        raise InternalError(f"metric '{name}': names that begin with {_TRITONS} are Triton's own")
    for label, value in labels.items():
        if not _LABEL.fullmatch(label) or label == "le":
            raise InternalError(
                f"metric '{name}': '{label}' is no name for a label; use letters, digits and _"
            )
        if "\0" in value:
            raise InternalError(f"metric '{name}': the label {label}={value!r} holds a NUL")
