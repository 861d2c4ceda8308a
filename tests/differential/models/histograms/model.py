import triton_python_backend_utils as pb_utils
from probes import Probes


def family(name, kind="COUNTER", description="text"):
    return pb_utils.MetricFamily(
        name=f"diffh_{name}", description=description, kind=getattr(pb_utils.MetricFamily, kind)
    )


class TritonPythonModel(Probes):
    def histogram(self):
        self.histogram_family = family("histogram", "HISTOGRAM")
        self.histogram_metric = self.histogram_family.Metric(labels={"a": "b"}, buckets=[0.1, 1.0, 5.0])
        return [self.histogram_metric.observe(value) for value in (0.05, 0.5, 7)]

    def histogram_value(self):
        return self.histogram_metric.value()

    def histogram_increment(self):
        return self.histogram_metric.increment(1)

    def histogram_without_buckets(self):
        return self.histogram_family.Metric(labels={"c": "d"})

    def no_metric_class(self):
        import c_python_backend_utils as c

        return c.Metric()
