"""What a model says beside its answers: the log and the metrics."""

from __future__ import annotations

from tests.differential.calls import Log, Metrics, Unload
from tests.differential.table import STOCK_BUG, Case, Differs, probes, step

#: Sometimes at once, sometimes with the next call.
DIES = Differs(
    STOCK_BUG, "the stock server dies of what a metric's kind has not", "does not support", stock=None
)

GONE = Differs(STOCK_BUG, "metrics of an unloaded model stay", r"^\[\]$", "diff")

TABLE = [
    Case(
        "logs",
        probes=probes(
            "each_level with_level default_level keywords unicode lines percent long empty in_function in_evaluated "
            "wrong_kind nothing none wrong_level instance bytes printed printed_error",
        ),
        steps=(
            step("lines of each level", Log("diff-log: info")),
            step("warnings", Log("diff-log: warn")),
            step("errors", Log("diff-log: error")),
            step("by level", Log("diff-log: by level", 3)),
            step("printed", Log("diff-print: out")),
            step("printed to stderr", Log("diff-print: err")),
            step("unload", Unload()),
            step("last line", Log("diff-log: in finalize")),
            step("log", Log("diff-log: ")),
        ),
    ),
    Case(
        "metrics",
        probes=probes(
            "counter counter_down counter_set counter_observe gauge gauge_observe plain increment_text "
            "increment_nothing increment_none same_labels_twice other_labels same_family_twice",
            counter_observe=DIES,
            gauge_observe=DIES,
        ),
        steps=(
            step("text", Metrics("diffm_")),
            step("unload", Unload()),
            step("text after unload", Metrics("diffm_"), GONE),
        ),
    ),
    Case(
        "metric_families",
        probes=probes(
            "same_name_other_kind bad_name empty_name positional no_kind kind_int description_none labels_list "
            "labels_text labels_of_ints labels_empty labels_none buckets_for_counter metric_after_family "
            "metric_deleted other_kind_names",
        ),
        steps=(step("text", Metrics("difff_")), step("unload", Unload())),
    ),
    Case(
        "histograms",
        probes=probes(
            "histogram histogram_value histogram_increment histogram_without_buckets no_metric_class",
            histogram_value=DIES,
            histogram_increment=DIES,
        ),
        steps=(step("text", Metrics("diffh_")), step("unload", Unload())),
    ),
]


def test_answers_are_the_same(answers, model, name):
    answers.check(model, name)
