import triton_python_backend_utils as pb_utils
from probes import Probes


def family(name, kind="COUNTER", description="text"):
    return pb_utils.MetricFamily(
        name=f"diffm_{name}", description=description, kind=getattr(pb_utils.MetricFamily, kind)
    )


class TritonPythonModel(Probes):
    def initialize(self, args):
        self.counter_family = family("counter", description="Counts ü")
        self.counter_metric = self.counter_family.Metric(labels={"model": "metrics", "version": "1"})
        self.gauge_family = family("gauge", "GAUGE")
        self.gauge_metric = self.gauge_family.Metric(labels={"a": "b"})
        self.plain_family = family("plain")
        self.plain_metric = self.plain_family.Metric()
        self.quoted_family = family("quoted", description='with "quotes" and \\ and\nline')
        self.quoted_metric = self.quoted_family.Metric(labels={"a": 'x"y\\z'})

    def counter(self):
        metric = self.counter_metric
        return metric.value(), metric.increment(2), metric.increment(1.5), metric.value()

    def counter_down(self):
        return self.counter_metric.increment(-1)

    def counter_set(self):
        return self.counter_metric.set(5)

    def counter_observe(self):
        return self.counter_metric.observe(5)

    def gauge(self):
        metric = self.gauge_metric
        metric.increment(3)
        metric.increment(-1.5)
        first = metric.value()
        return first, metric.set(10), metric.value(), metric.set(-3.25), metric.value()

    def gauge_observe(self):
        return self.gauge_metric.observe(5)

    def plain(self):
        self.plain_metric.increment(1)
        return self.plain_metric.value()

    def increment_text(self):
        return self.counter_metric.increment("1")

    def increment_nothing(self):
        return self.counter_metric.increment()

    def increment_none(self):
        return self.counter_metric.increment(None)

    def same_labels_twice(self):
        again = self.counter_family.Metric(labels={"model": "metrics", "version": "1"})
        again.increment(100)
        found = again.value(), self.counter_metric.value()
        return found

    def other_labels(self):
        self.other = self.counter_family.Metric(labels={"model": "other"})
        self.other.increment(7)
        return self.other.value()

    def same_family_twice(self):
        again = family("counter", description="Counts ü")
        metric = again.Metric(labels={"from": "again"})
        metric.increment(4)
        return metric.value()
