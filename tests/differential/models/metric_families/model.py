import gc

import triton_python_backend_utils as pb_utils
from probes import Probes


def family(name, kind="COUNTER", description="text"):
    return pb_utils.MetricFamily(
        name=f"difff_{name}", description=description, kind=getattr(pb_utils.MetricFamily, kind)
    )


class TritonPythonModel(Probes):
    def initialize(self, args):
        self.counter_family = family("counter", description="Counts")
        self.gauge_family = family("gauge", "GAUGE")
        self.gauge_metric = self.gauge_family.Metric(labels={"a": "b"})

    def same_name_other_kind(self):
        return family("counter", "GAUGE")

    def bad_name(self):
        return family("with-dash")

    def empty_name(self):
        return pb_utils.MetricFamily("", "text", pb_utils.MetricFamily.COUNTER)

    def positional(self):
        f = pb_utils.MetricFamily("difff_positional", "text", pb_utils.MetricFamily.GAUGE)
        m = f.Metric({"x": "y"})
        m.set(1)
        return m.value()

    def no_kind(self):
        return pb_utils.MetricFamily(name="difff_x", description="text")

    def kind_int(self):
        return pb_utils.MetricFamily(name="difff_x", description="text", kind=0)

    def description_none(self):
        return pb_utils.MetricFamily(name="difff_x", description=None, kind=pb_utils.MetricFamily.COUNTER)

    def labels_list(self):
        return self.counter_family.Metric(labels=["a"])

    def labels_text(self):
        return self.counter_family.Metric(labels="a")

    def labels_of_ints(self):
        return self.counter_family.Metric(labels={"a": 1})

    def labels_empty(self):
        m = self.gauge_family.Metric(labels={})
        m.set(2)
        return m.value()

    def labels_none(self):
        m = self.gauge_family.Metric(labels=None)
        return m.value()

    def buckets_for_counter(self):
        return self.counter_family.Metric(labels={"b": "1"}, buckets=[1.0])

    def metric_after_family(self):
        f = family("short", "GAUGE")
        m = f.Metric(labels={"a": "1"})
        m.set(1)
        del f
        gc.collect()
        return m.value()

    def metric_deleted(self):
        m = self.gauge_family.Metric(labels={"gone": "yes"})
        m.set(5)
        del m
        gc.collect()

    def other_kind_names(self):
        return str(pb_utils.MetricFamily.COUNTER), repr(pb_utils.MetricFamily.GAUGE)
