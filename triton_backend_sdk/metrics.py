"""Counters, gauges and histograms on Triton's metrics endpoint, owned by the model that asks for them.

A family (one name) belongs to the process: every model that asks for it shares it. A metric (one set of
labels in it) belongs to a model and is deleted when that is gone, before its family is: a reload leaves no
metric that nobody feeds, and Triton never has one whose family is gone.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from triton_backend_sdk.enums import MetricKind
from triton_backend_sdk.errors import InternalError
from triton_backend_sdk.metric_names import check_names
from triton_backend_sdk.metric_registry import MetricRegistry, MetricSpec, Series


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


_Key = tuple[str, frozenset[tuple[str, str]]]
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
        self._metrics: dict[_Key, Metric] = {}
        #: How often each was asked for and not given back.
        self._asked: collections.Counter[_Key] = collections.Counter()
        self._given_back: collections.deque[Metric] = collections.deque()

    def counter(
        self,
        name: str,
        description: str,
        *,
        labels: Mapping[str, str] | None = None,
        shared: bool = False,
        strict: bool = True,
    ) -> Counter:
        """Give a counter.

        :param description: the HELP line; the first that a family gets stays.
        :param labels: name to value.
        :param shared: leave out the labels ``model`` and ``version``: all models that ask feed one metric.
        :param strict: refuse what Triton takes and a dashboard stumbles over: label names, or buckets, other
            than those of the family's first metric, and names that begin with ``nv_`` (Triton's own are
            refused in any case). Without it, what Triton does not take raises an error in its words.
        :raises InternalError: the process has the name with another kind, other label names or other
            buckets; or the name is none that Prometheus takes, or begins with ``nv_``, as Triton's own do.
        :raises UnsupportedError: this Triton was built without metrics.
        """
        return self._get(Counter, name, description, self._labels(labels, shared=shared), strict=strict)

    def gauge(
        self,
        name: str,
        description: str,
        *,
        labels: Mapping[str, str] | None = None,
        shared: bool = False,
        strict: bool = True,
    ) -> Gauge:
        """Give a gauge; arguments and errors are counter's."""
        return self._get(Gauge, name, description, self._labels(labels, shared=shared), strict=strict)

    def histogram(
        self,
        name: str,
        description: str,
        *,
        buckets: Sequence[float],
        labels: Mapping[str, str] | None = None,
        shared: bool = False,
        strict: bool = True,
    ) -> Histogram:
        """Give a histogram; further arguments and errors are counter's.

        :param buckets: the upper bounds, ascending; that of everything else (+Inf) is added. None at all are
            an error where ``strict``.
        :raises UnsupportedError: this Triton is too old for histograms.
        """
        bounds = tuple(float(bound) for bound in buckets)
        if strict and (not bounds or any(high <= low for low, high in itertools.pairwise(bounds))):
            raise InternalError(f"metric '{name}': buckets must ascend, and be at least one; got {bounds}")
        own = self._labels(labels, shared=shared)
        return self._get(Histogram, name, description, own, bounds, strict=strict)

    def declare(
        self, kind: type[Counter | Gauge | Histogram], name: str, description: str, *, strict: bool = True
    ) -> None:
        """Have Triton check a family before there is a metric of it: errors are counter's.

        The description that it gives here stays.
        """
        check_names(name, {}, strict=strict)
        with self._locked() as registry:
            if registry is None:
                raise InternalError(f"metric '{name}': the model is unloaded, or has no server")
            registry.declare(MetricSpec(_KINDS[kind], name, description, {}, None, strict))

    def release(self, metric: Metric) -> None:
        """Give back a metric before the model ends: with the last of those who asked for it, it goes.

        It may be called in a ``__del__``. One that others still use stays, and this object with it.
        """
        self._given_back.append(metric)
        try:
            with self._locked():
                pass
        except InternalError:
            return  # in a __del__ while metrics are made on this thread: whoever holds the lock next does it

    def close(self) -> None:
        """Delete them all: the model is gone."""
        with _exclusive:
            registry, self._registry = self._registry, None
            metrics, self._metrics = list(self._metrics.values()), {}
            for metric in metrics:
                assert registry is not None
                registry.remove(metric.name, metric._series)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[MetricRegistry | None]:
        """Hold the lock, with all deleted that was given back."""
        with _exclusive:
            while self._given_back:
                self._drop(self._given_back.popleft())
            yield self._registry

    def _drop(self, metric: Metric) -> None:
        key = metric.name, frozenset(metric.labels.items())
        if self._registry is None or self._metrics.get(key) is not metric:
            return
        self._asked[key] -= 1
        if self._asked[key] == 0:
            del self._asked[key], self._metrics[key]
            self._registry.remove(metric.name, metric._series)

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
        *,
        strict: bool,
    ) -> AnyMetric:
        check_names(name, labels, strict=strict)
        key = name, frozenset(labels.items())
        with self._locked() as registry:
            if registry is None:
                raise InternalError(f"metric '{name}': the model is unloaded, or has no server")
            metric = self._metrics.get(key)
            spec = MetricSpec(_KINDS[cls], name, description, labels, buckets, strict)
            if metric is None:
                metric = cls(name, labels, registry.add(spec))
                self._metrics[key] = metric
            registry.check(spec)
            assert isinstance(metric, cls)
            self._asked[key] += 1
            return metric
