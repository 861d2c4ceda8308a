"""``pb_utils.MetricFamily`` and ``Metric`` on the real core: rules, errors, sharing and life."""

from __future__ import annotations

import gc
import re
import sys

import numpy as np
import pytest

from triton_backend_sdk import Backend, Model
from triton_backend_sdk.python_backend.owner import PythonModel
from triton_backend_sdk.python_backend.pb_error import TritonModelException
from triton_backend_sdk.python_backend.pb_metrics import Metric, MetricFamily, names

X = {"IN": np.zeros(1, np.float32)}
MODEL = """
kept = {}

class TritonPythonModel:
    def initialize(self, args):
        self.args = args
        INITIALIZE

    def execute(self, requests):
        EXECUTE
        return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.zeros(1, np.float32))]) for _ in requests]

    def finalize(self):
        pass
"""
COUNTS = """
        self.family = pb_utils.MetricFamily(name="NAME", description="How often", kind=pb_utils.MetricFamily.COUNTER)
        self.metric = self.family.Metric(labels={"a": "1"})
""".strip()


def source(initialize="pass", execute="pass"):
    return MODEL.replace("INITIALIZE", initialize).replace("EXECUTE", execute)


@pytest.fixture
def measured(serve_model):
    """Serve on a core that collects metrics."""

    def make(text, **options):
        return serve_model(text, core_options={"metrics": True}, **options)

    return make


def lines(served, name) -> dict[str, float]:
    """Give a family's lines: labels to value."""
    found = re.findall(rf"^{name}(\{{.*\}})? (\S+)$", served.core.metrics_text(), re.MULTILINE)
    return {labels: float(value) for labels, value in found}


@pytest.fixture
def family_class(measured):
    """Give the class of a model's own utils, on a model that is served."""
    served = measured(
        source("pb_utils._kept = pb_utils.MetricFamily; import sys; sys.kept_family = pb_utils.MetricFamily")
    )
    cls = sys.kept_family
    del sys.kept_family
    return served, cls


def test_instances_and_models_feed_one_line_which_goes_with_the_last(measured):
    text = source(COUNTS.replace("NAME", "pb_together"), "self.metric.increment(len(requests))")
    served = measured(text, instances=2)
    other = measured(text, beside=served)
    for _ in range(6):
        served.infer(X)
    other.infer(X)
    assert lines(served, "pb_together") == {'{a="1"}': 7}
    assert "# HELP pb_together How often\n# TYPE pb_together counter" in served.core.metrics_text()
    served.core.unload(served.name)
    assert lines(other, "pb_together") == {'{a="1"}': 7}
    other.infer(X)
    other.core.unload(other.name)
    assert lines(other, "pb_together") == {}
    other.core.load(other.name)
    assert lines(other, "pb_together") == {'{a="1"}': 0}
    other.core.load(other.name, {**other.core.model_config(other.name), "version_policy": {"all": {}}})
    other.infer(X)
    assert lines(other, "pb_together") == {'{a="1"}': 1}
    assert "MetricFamily was deleted" not in served.log


def test_all_kinds(family_class):
    served, family_of = family_class
    counter = family_of("pb_counter", "", family_of.COUNTER).Metric()
    assert counter._metric is None  # nobody kept the family
    family = family_of("pb_counter", "", family_of.COUNTER)
    counter = family.Metric()
    counter.increment(1)
    counter.increment(np.float32(0.5))
    counter.increment(True)
    assert counter.value() == 2.5
    gauges = family_of(name="pb_gauge", description="", kind=family_of.GAUGE)
    gauge = gauges.Metric(labels={"x": "y"})
    gauge.set(5)
    gauge.increment(-2)
    assert gauge.value() == 3
    histograms = family_of("pb_histogram", "", family_of.HISTOGRAM)
    histogram = histograms.Metric(labels={}, buckets=[0.1, 1])
    for value in (0.05, 0.5, 7):
        histogram.observe(value)
    assert lines(served, "pb_histogram_bucket") == {'{le="0.1"}': 1, '{le="1"}': 2, '{le="+Inf"}': 3}
    no_buckets = histograms.Metric({"of": "none"}, [])
    no_buckets.observe(1)
    assert lines(served, "pb_histogram_count") == {"": 3, '{of="none"}': 1}


def process(served):
    """Give what stands before words of Triton's, as in the stock backend."""
    return f"Failed to process the request for model '{served.name}_0_0', message: "


COUNTER_SET = "Failed to set metric value: PROCESSTRITONSERVER_METRIC_KIND_COUNTER does not support Set"
NEGATIVE = (
    "Failed to increment metric value: PROCESSTRITONSERVER_METRIC_KIND_COUNTER can only be incremented "
    "monotonically by non-negative values."
)


@pytest.mark.parametrize(
    ("kind", "operation", "arguments", "message"),
    [
        ("COUNTER", "set", [1], COUNTER_SET),
        ("COUNTER", "observe", [1], "Failed to observe metric value: PROCESSTRITONSERVER_METRIC_KIND_COUNTER does not support Observe"),
        ("COUNTER", "increment", [-1], NEGATIVE),
        ("GAUGE", "observe", [1], "Failed to observe metric value: PROCESSTRITONSERVER_METRIC_KIND_GAUGE does not support Observe"),
        ("HISTOGRAM", "set", [1], "Failed to set metric value: PROCESSTRITONSERVER_METRIC_KIND_HISTOGRAM does not support Set"),
        ("HISTOGRAM", "increment", [1], "Failed to increment metric value: PROCESSTRITONSERVER_METRIC_KIND_HISTOGRAM does not support Increment"),
        ("HISTOGRAM", "value", [], "Failed to get metric value: PROCESSTRITONSERVER_METRIC_KIND_HISTOGRAM does not support Value"),
    ],
)  # fmt: skip
def test_what_a_kind_cannot_do(family_class, kind, operation, arguments, message):
    served, family_of = family_class
    family = family_of(f"pb_cannot_{kind}", "", getattr(family_of, kind))
    metric = family.Metric(buckets=[1] if kind == "HISTOGRAM" else None)
    with pytest.raises(TritonModelException) as raised:
        getattr(metric, operation)(*arguments)
    assert str(raised.value) == message.replace("PROCESS", process(served))


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        ("COUNTER", {"labels": []}, "Failed to create metric. Labels must be a dictionary."),
        ("COUNTER", {"labels": "a"}, "Failed to create metric. Labels must be a dictionary."),
        ("COUNTER", {"buckets": [1]}, "Failed to create metric. Unexpected buckets found."),
        ("GAUGE", {"buckets": []}, "Failed to create metric. Unexpected buckets found."),
        ("GAUGE", {"buckets": (1,)}, "Failed to create metric. Buckets must be a list."),
        ("HISTOGRAM", {"buckets": (1,)}, "Failed to create metric. Buckets must be a list."),
        ("HISTOGRAM", {"labels": {}}, "Failed to create metric. Missing required buckets."),
        ("HISTOGRAM", {"buckets": [2, 1]}, "Error when creating Metric: PROCESSBucket Boundaries must be strictly sorted"),
        ("HISTOGRAM", {"buckets": [1, 1]}, "Error when creating Metric: PROCESSBucket Boundaries must be strictly sorted"),
        ("COUNTER", {"labels": {"a": 1}}, "Error when creating Metric: PROCESSattempt to access JSON non-string as string"),
        ("COUNTER", {"labels": {"a-b": "1"}}, "Error when creating Metric: PROCESSInvalid label name"),
        ("COUNTER", {"labels": {1: "1"}}, "Error when creating Metric: PROCESSInvalid label name"),
    ],
)  # fmt: skip
def test_what_a_family_refuses(family_class, kind, arguments, message):
    served, family_of = family_class
    family = family_of(f"pb_refuses_{kind}", "", getattr(family_of, kind))
    with pytest.raises(TritonModelException) as raised:
        family.Metric(**arguments)
    assert str(raised.value) == message.replace("PROCESS", process(served))
    assert lines(served, f"pb_refuses_{kind}") == {}


def test_what_is_no_family(family_class):
    served, family_of = family_class
    first = family_of("pb_kind", "", family_of.COUNTER)
    with pytest.raises(TritonModelException) as raised:
        family_of("pb_kind", "", family_of.GAUGE)
    assert (
        str(raised.value)
        == f"Error when creating MetricFamily: {process(served)}Family name already exists with different type"
    )
    with pytest.raises(
        TritonModelException,
        match=r"Error when creating MetricFamily: Failed to .*, message: Invalid metric name",
    ):
        family_of("pb kind", "", family_of.GAUGE)
    with pytest.raises(TritonModelException, match="Triton's own"):
        family_of("nv_inference_count", "", family_of.COUNTER)
    for arguments in (
        (None, "", family_of.COUNTER),
        ("pb_x", None, family_of.COUNTER),
        ("pb_x", "", 0),
        ("pb_x", ""),
        (),
    ):
        with pytest.raises(TypeError):
            family_of(*arguments)
    with pytest.raises(TypeError):
        Metric()
    metric = first.Metric()
    for wrong in ("1", None, [1]):
        with pytest.raises(TypeError):
            metric.increment(wrong)


def test_one_name_in_several_families(family_class):
    served, family_of = family_class
    one = family_of("pb_dup", "first description", family_of.COUNTER)
    two = family_of("pb_dup", "second description", family_of.COUNTER)
    metrics = [one.Metric({"a": "1"}), one.Metric({"a": "1"}), two.Metric({"a": "1"}), two.Metric({"b": "2"})]
    metrics[0].increment(7.5)
    assert [metric.value() for metric in metrics] == [7.5, 7.5, 7.5, 0]
    assert "pb_dup first description" in served.core.metrics_text()
    del one
    assert metrics[2].value() == 7.5
    assert lines(served, "pb_dup") == {'{a="1"}': 7.5, '{b="2"}': 0}
    del two
    assert lines(served, "pb_dup") == {}


def test_a_metric_whose_family_is_gone(family_class):
    served, family_of = family_class
    family = family_of("pb_gone", "", family_of.GAUGE)
    metric = family.Metric()
    del family
    for operation, verb, arguments in (
        ("set", "set", [1]),
        ("increment", "increment", [1]),
        ("observe", "observe", [1]),
        ("value", "get", []),
    ):
        with pytest.raises(TritonModelException) as raised:
            getattr(metric, operation)(*arguments)
        start = f"Failed to {verb} metric value: Invalid metric operation as the corresponding 'MetricFamily' has been deleted. "
        assert str(raised.value).startswith(start)
    assert lines(served, "pb_gone") == {}


def test_a_family_in_a_cycle_goes_with_the_collector(family_class):
    served, family_of = family_class
    family = family_of("pb_cycle", "", family_of.GAUGE)
    holder = [family, family.Metric()]
    holder.append(holder)
    del family, holder
    assert len(lines(served, "pb_cycle")) == 1
    gc.collect()
    assert lines(served, "pb_cycle") == {}


def test_families_that_outlive_their_model(family_class):
    served, family_of = family_class
    family = family_of("pb_outlives", "", family_of.COUNTER)
    metric = family.Metric()
    served.core.unload(served.name)
    assert lines(served, "pb_outlives") == {}
    with pytest.raises(
        TritonModelException, match=r"Failed to increment metric value: .*its model was unloaded"
    ):
        metric.increment(1)
    with pytest.raises(TritonModelException, match=r"Error when creating Metric: .*the model is unloaded"):
        family.Metric({"an": "other"})
    with pytest.raises(
        TritonModelException, match=r"Error when creating MetricFamily: .*the model is unloaded"
    ):
        family_of("pb_outlives", "", family_of.COUNTER)
    del family


def test_a_class_that_belongs_to_no_model_finds_the_one_that_runs(measured, tmp_path):
    with pytest.raises(TritonModelException):
        MetricFamily("pb_none", "", MetricFamily.COUNTER)
    owner = PythonModel(Model("m", 1, tmp_path, {}, Backend("b", {}, tmp_path)), None)
    with owner.active(), pytest.raises(TritonModelException, match="has no server"):
        MetricFamily("pb_none", "", MetricFamily.COUNTER)
    owner.close()
    assert issubclass(names(owner)["MetricFamily"], MetricFamily)
    assert names(None)["MetricFamily"] is MetricFamily


def test_a_metric_per_request_costs_no_memory(family_class):
    _, family_of = family_class
    family = family_of("pb_again", "", family_of.COUNTER)
    first = family.Metric({"a": "1"})
    assert all(family.Metric(labels={"a": "1"}) is first for _ in range(100))
    assert family.Metric({}) is family.Metric() is family.Metric(None)
    assert len(family._made) == 2
