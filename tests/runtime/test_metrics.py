"""Counters, gauges and histograms on the real core's metrics: what is shown, shared, refused and deleted when."""

from __future__ import annotations

import re
import threading

import numpy as np
import pytest

from triton_backend_sdk import Counter, Gauge, Histogram, InternalError, InvalidArgError, TritonError
from triton_backend_sdk.metrics import _exclusive
from triton_backend_sdk.testing.core import TritonCore
from triton_backend_sdk.tools.build import build_backend

X = {"IN": np.zeros(1, np.float32)}
ANSWER = """
def answer(requests):
    return [Response({"OUT": request["IN"]}) for request in requests]
"""
COUNTS = (
    ANSWER
    + """
@hookimpl
def model_initialize(model):
    model.state.asked = model.metrics.counter("%(name)s", "How often", labels={"step": "all"})

@hookimpl
def execute(instance, requests):
    instance.model.state.asked.increment(len(requests))
    return answer(requests)
"""
)


@pytest.fixture
def measured(serve, monkeypatch):
    """Serve on a core that collects metrics."""
    init = TritonCore.__init__

    def with_metrics(self, *arguments, **options):
        init(self, *arguments, metrics=True, **options)

    monkeypatch.setattr(TritonCore, "__init__", with_metrics)
    return serve


def lines(served, name) -> dict[str, float]:
    """Give a family's lines: labels to value."""
    found = re.findall(rf"^{name}(\{{.*\}})? (\S+)$", served.core.metrics_text(), re.MULTILINE)
    return {labels: float(value) for labels, value in found}


def copy_model(served, name):
    """Write the served model's twin."""
    folder = served.repository / name
    (folder / "1").mkdir(parents=True)
    text = (served.repository / served.name / "config.pbtxt").read_text()
    (folder / "config.pbtxt").write_text(text)


def test_a_counter_lives_as_long_as_its_model(measured):
    served = measured(COUNTS % {"name": "tb_lives"})
    shown = f'{{model="{served.name}",step="all",version="1"}}'
    assert lines(served, "tb_lives") == {shown: 0}
    assert "# HELP tb_lives How often\n# TYPE tb_lives counter" in served.core.metrics_text()

    for _ in range(3):
        served.infer(X)
    assert lines(served, "tb_lives") == {shown: 3}

    served.core.unload(served.name)
    assert lines(served, "tb_lives") == {}
    served.core.load(served.name)
    assert lines(served, "tb_lives") == {shown: 0}
    served.infer(X)
    assert lines(served, "tb_lives") == {shown: 1}


def test_reloads_and_unloads_end_without_a_warning(measured):
    served = measured(COUNTS % {"name": "tb_reloads"})
    for _ in range(5):
        served.core.load(
            served.name, {**served.core.model_config(served.name), "version_policy": {"all": {}}}
        )
        served.infer(X)
        served.core.unload(served.name)
        served.core.load(served.name)
    served.core.close()
    assert "MetricFamily" not in served.log
    assert "metric" not in served.log


def test_all_kinds(measured):
    served = measured(
        ANSWER
        + """
@hookimpl
def initialize(instance):
    metrics, state = instance.model.metrics, instance.state
    state.gauge = metrics.gauge("tb_kinds_entries", "Entries")
    state.histogram = metrics.histogram("tb_kinds_seconds", "Took", buckets=[0.1, 1], labels={"stage": "post"})

@hookimpl
def execute(instance, requests):
    gauge = instance.state.gauge
    gauge.set(5)
    gauge.increment()
    gauge.decrement(2)
    assert gauge.value == 4
    assert gauge.labels == {"model": instance.model.name, "version": "1"}
    for value in (0.05, 0.5, 0.6, 7):
        instance.state.histogram.observe(value)
    return answer(requests)
"""
    )
    served.infer(X)
    own = f'model="{served.name}"'
    assert lines(served, "tb_kinds_entries") == {f'{{{own},version="1"}}': 4}
    labels = f'{own},stage="post",version="1"'
    assert lines(served, "tb_kinds_seconds_bucket") == {
        f'{{{labels},le="0.1"}}': 1,
        f'{{{labels},le="1"}}': 3,
        f'{{{labels},le="+Inf"}}': 4,
    }
    assert lines(served, "tb_kinds_seconds_count") == {f"{{{labels}}}": 4}


def test_instances_of_a_model_count_together(measured):
    served = measured(
        ANSWER
        + """
class Plugin:
    @hookimpl
    def initialize(self, instance):
        self.counter = instance.model.metrics.counter("tb_instances", "Asked")

    @hookimpl
    def execute(self, requests):
        self.counter.increment()
        return answer(requests)
""",
        extra="instance_group { kind: KIND_CPU count: 3 }",
    )
    for future in [served.send(X) for _ in range(12)]:
        future.result(20)
    assert list(lines(served, "tb_instances").values()) == [12]


def test_models_have_lines_of_their_own_unless_they_share(measured):
    served = measured(
        ANSWER
        + """
@hookimpl
def initialize(instance):
    metrics = instance.model.metrics
    instance.state.counters = [
        metrics.counter("tb_own", "Own"), metrics.counter("tb_shared", "Shared", labels={"of": "all"}, shared=True)
    ]

@hookimpl
def execute(instance, requests):
    for counter in instance.state.counters:
        counter.increment()
    return answer(requests)
"""
    )
    copy_model(served, "twin")
    served.core.load("twin")
    served.infer(X)
    served.core.infer("twin", X, timeout=20)
    served.core.infer("twin", X, timeout=20)
    own = {f'{{model="{served.name}",version="1"}}': 1, '{model="twin",version="1"}': 2}
    assert lines(served, "tb_own") == own
    assert lines(served, "tb_shared") == {'{of="all"}': 3}

    served.core.unload(served.name)
    assert lines(served, "tb_own") == {'{model="twin",version="1"}': 2}
    assert lines(served, "tb_shared") == {'{of="all"}': 3}  # Triton keeps the sum while someone feeds it
    served.core.unload("twin")
    assert lines(served, "tb_own") == lines(served, "tb_shared") == {}


def test_two_backends_share_a_family(measured):
    first = measured(COUNTS % {"name": "tb_backends"})
    second = measured(COUNTS % {"name": "tb_backends"}, load=False)
    first.core.load(second.name)
    first.infer(X)
    assert sorted(lines(first, "tb_backends").values()) == [0, 1]
    first.core.unload(first.name)
    assert list(lines(first, "tb_backends").values()) == [0]
    first.core.infer(second.name, X, timeout=20)
    assert list(lines(first, "tb_backends").values()) == [1]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("gauge('NAME', '')", "'NAME' is a counter here already, and cannot be a gauge"),
        (
            "counter('NAME', '', labels={'other': 'x'})",
            r"has the labels \['model', 'step', 'version'\] here already, not",
        ),
        ("counter('NAME', '', labels={'step': 'x'}, shared=True)", "has the labels .* here already, not"),
        ("counter('1st', '')", "'1st': a name has letters"),
        ("counter('nv_inference_count', '')", "begin with nv_ are Triton's own"),
        ("counter('ok', '', labels={'__x': '1'})", "'__x' is no name for a label"),
        ("counter('ok', '', labels={'a-b': '1'})", "'a-b' is no name for a label"),
        ("counter('ok', '', labels={'a': 'x\\0y'})", "holds a NUL"),
        ("histogram('tb_h', '', buckets=[])", "buckets must ascend"),
        ("histogram('tb_h', '', buckets=[2, 1])", "buckets must ascend"),
        (
            "histogram('tb_h', '', buckets=[1]) and model.metrics.histogram('tb_h', '', buckets=[2])",
            "has the buckets",
        ),
    ],
)
def test_a_wrong_family_is_refused_and_the_rest_goes_on(measured, wrong, message):
    name = "tb_wrong"
    served = measured(COUNTS % {"name": name}, load=False)
    copy_model(served, "ask")
    source = served.project.package / "plugin.py"
    wrong = wrong.replace("NAME", name)
    source.write_text(
        source.read_text().replace(
            "def model_initialize(model):\n",
            f"def model_initialize(model):\n    if model.name == 'ask': model.metrics.{wrong}\n",
        )
    )
    build_backend(served.project, served.backends, link=True)
    served.core.load(served.name)
    with pytest.raises(TritonError, match=message.replace("NAME", name)):
        served.core.load("ask")
    served.infer(X)
    assert list(lines(served, name).values()) == [1]
    assert lines(served, "ok") == lines(served, "tb_h_count") == {}


def test_a_name_keeps_its_kind_in_triton_for_good(measured):
    served = measured(COUNTS % {"name": "tb_kind"})
    served.core.unload(served.name)
    source = served.project.package / "plugin.py"
    source.write_text(
        source.read_text().replace('counter("tb_kind", "How often"', 'gauge("tb_kind", "How often"')
    )
    other = measured(source.read_text().split("import *\n", 1)[1], load=False)
    with pytest.raises(TritonError, match=r"Triton takes no gauge named 'tb_kind': .*until the server ends"):
        other.core.load(other.name)


@pytest.mark.parametrize("value", ["-1", "float('nan')"])
def test_a_counter_only_grows(measured, value):
    served = measured(COUNTS.replace("len(requests)", value) % {"name": "tb_grows"})
    with pytest.raises(InvalidArgError, match="tb_grows"):
        served.infer(X)
    assert list(lines(served, "tb_grows").values()) == [0]


def test_no_metric_of_a_model_that_failed_to_load_is_left(measured):
    served = measured(COUNTS % {"name": "tb_fails"}, load=False)
    source = served.project.package / "plugin.py"
    source.write_text(
        source.read_text() + "\n@hookimpl\ndef initialize(instance):\n    raise ValueError('no')\n"
    )
    build_backend(served.project, served.backends, link=True)
    for _ in range(2):
        with pytest.raises(TritonError, match="no"):
            served.core.load(served.name)
        assert lines(served, "tb_fails") == {}
    source.write_text(
        source.read_text().replace('"step": "all"})\n', '"step": "all"})\n    raise ValueError("no")\n')
    )
    with pytest.raises(TritonError, match="no"):
        served.core.load(served.name)
    assert lines(served, "tb_fails") == {}


def test_a_metric_after_its_model_says_so(measured):
    served = measured(
        "kept = []\n"
        + COUNTS.replace("model.state.asked = ", "kept.append(model); model.state.asked = ")
        % {"name": "tb_gone"}
    )
    (model,) = served.module.kept
    counter = model.state.asked
    served.core.unload(served.name)
    for use in (counter.increment, lambda: counter.value):
        with pytest.raises(InternalError, match=r"metric tb_gone\{.*\} is gone: its model was unloaded"):
            use()
    with pytest.raises(InternalError, match="'later': the model is unloaded"):
        model.metrics.counter("later", "")


def test_threads_count_while_models_come_and_go(measured):
    served = measured(
        "kept = []\n"
        + COUNTS.replace("model.state.asked = ", "kept.append(model); model.state.asked = ")
        % {"name": "tb_threads"}
    )
    kept, stop, faults = served.module.kept, threading.Event(), []

    def count():
        while not stop.is_set():
            try:
                kept[-1].state.asked.increment()
            except (InternalError, AttributeError) as error:
                if "is gone" not in str(error) and "asked" not in str(error):
                    faults.append(error)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        served.core.unload(served.name)
        served.core.load(served.name)
    stop.set()
    for thread in threads:
        thread.join()
    before = kept[-1].state.asked.value
    threads = [
        threading.Thread(target=lambda: [kept[-1].state.asked.increment() for _ in range(5000)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kept[-1].state.asked.value == before + 20000
    assert faults == []


def test_a_metric_goes_with_the_last_that_asked_for_it(measured):
    served = measured(
        "kept = []\n"
        + COUNTS.replace("model.state.asked = ", "kept.append(model); model.state.asked = ")
        % {"name": "tb_release"}
    )
    (model,) = served.module.kept
    metrics, first = model.metrics, model.state.asked
    assert metrics.counter("tb_release", "", labels={"step": "all"}) is first
    first.increment()
    metrics.release(first)
    assert list(lines(served, "tb_release").values()) == [1]
    metrics.release(first)
    assert lines(served, "tb_release") == {}
    with pytest.raises(InternalError, match="is gone"):
        first.increment()
    metrics.release(first)  # once more does no harm
    again = metrics.counter("tb_release", "", labels={"step": "all"})
    metrics.release(first)
    again.increment(3)
    assert list(lines(served, "tb_release").values()) == [3]
    served.core.unload(served.name)
    metrics.release(again)
    assert lines(served, "tb_release") == {}


def test_one_that_is_not_strict_may_have_labels_and_buckets_of_its_own(measured):
    served = measured(
        COUNTS % {"name": "tb_strict"}
        + "\nkept = []\n@hookimpl\ndef initialize(instance): kept.append(instance.model)\n"
    )
    (model,) = served.module.kept
    metrics = model.metrics
    metrics.counter("tb_strict", "", labels={"other": "x"}, shared=True, strict=False).increment()
    assert sorted(lines(served, "tb_strict").values()) == [0, 1]
    metrics.histogram("tb_strict_h", "", buckets=[1], strict=False)
    metrics.histogram("tb_strict_h", "", buckets=[], labels={"no": "buckets"}, strict=False).observe(1)
    assert sorted(lines(served, "tb_strict_h_count").values()) == [0, 1]
    metrics.gauge("nv_trt_llm_request_metrics", "", strict=False).set(2)
    assert list(lines(served, "nv_trt_llm_request_metrics").values()) == [2]
    for name in ("nv_inference_count", "nv_gpu_utilization", "nv_cache_num_hits_per_model"):
        with pytest.raises(InternalError, match="Triton's own"):
            metrics.counter(name, "", strict=False)
    with pytest.raises(InternalError, match="cannot be a gauge"):
        metrics.gauge("tb_strict", "", strict=False)


def test_a_family_can_be_declared_before_its_metrics(measured):
    served = measured(
        COUNTS % {"name": "tb_declare"}
        + "\nkept = []\n@hookimpl\ndef initialize(instance): kept.append(instance.model)\n"
    )
    (model,) = served.module.kept
    metrics = model.metrics
    served.infer(X)
    metrics.declare(Counter, "tb_declare", "")
    assert list(lines(served, "tb_declare").values()) == [1]
    metrics.declare(Gauge, "tb_declared", "The first")
    assert lines(served, "tb_declared") == {}
    metrics.gauge("tb_declared", "The second")
    assert "# HELP tb_declared The first" in served.core.metrics_text()
    for kind in (Gauge, Histogram):
        with pytest.raises(InternalError, match="Family name already exists with different type"):
            metrics.declare(kind, "tb_declare", "")
    with pytest.raises(InternalError, match="a name has letters"):
        metrics.declare(Counter, "tb declare", "")
    with pytest.raises(InternalError, match="Invalid metric name"):
        metrics.declare(Counter, "tb declare", "", strict=False)
    served.core.unload(served.name)
    with pytest.raises(InternalError, match="the model is unloaded"):
        metrics.declare(Counter, "tb_declare", "")


def test_a_del_that_runs_while_metrics_are_made_gives_back_later(measured):
    served = measured(
        COUNTS % {"name": "tb_del"}
        + "\nkept = []\n@hookimpl\ndef initialize(instance): kept.append(instance.model)\n"
    )
    (model,) = served.module.kept
    metrics = model.metrics
    doomed = metrics.gauge("tb_del_gauge", "")

    with _exclusive:
        metrics.release(doomed)
    assert len(lines(served, "tb_del_gauge")) == 1
    metrics.counter("tb_del_other", "")
    assert lines(served, "tb_del_gauge") == {}
