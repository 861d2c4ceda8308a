"""C14 to C17, C25, C37: batch sizes, priorities, the response cache, metrics."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from triton_backend_sdk.tools.check.finding import Finding
from triton_backend_sdk.tools.check.repository import ModelDirectory
from triton_backend_sdk.tools.check.rules import Context, Rule, config_rule, declare

C14 = declare("C14", "a negative max_batch_size")
C15 = declare("C15", "a preferred batch size that cannot be")
C16 = declare("C16", "priorities out of their range")
C17 = declare("C17", "an order to be kept, and priorities or delays that would break it")
C25 = declare("C25", "a response cache where there can be none")
C37 = declare("C37", "a metric control that says too little, or a tag that no metric can have")
_BATCHER = "dynamic_batching"
_FAMILY = 'family: "nv_inference_first_response_histogram_ms"'
_BUCKETS = "buckets: [ 1, 10, 100, 1000 ]"
_TAG, _NO_TAG = re.compile("(?:[A-Za-z0-9][A-Za-z0-9_]*)?"), re.compile("[^A-Za-z0-9]+")


@config_rule(C14)
def check_batch_size(self: Rule, model: ModelDirectory, context: Context) -> Iterator[Finding]:
    """0 for a model without a batch dimension."""
    if (size := model.message.max_batch_size) < 0:
        yield self.of(
            model,
            ("max_batch_size",),
            f"max_batch_size is {size}; it can be 0, for no batches, or more",
            says=f"'max_batch_size' must be non-negative value for {model.name}",
            mend="max_batch_size: 0, or the most that a batch may have",
        )


@config_rule(C15)
def check_preferred(self: Rule, model: ModelDirectory, context: Context) -> Iterator[Finding]:
    """Best left out: Triton takes max_batch_size then."""
    largest = model.message.max_batch_size
    for index, size in enumerate(model.message.dynamic_batching.preferred_batch_size):
        if 0 < size <= largest:
            continue
        wants = "must be positive" if size <= 0 else "must be <= max batch size"
        yield self.of(
            model,
            (_BATCHER, "preferred_batch_size", index),
            f"preferred_batch_size {size} is out of 1 to max_batch_size, which is {largest}",
            says=f"dynamic batching preferred size {wants} for {model.name}",
            mend="leave preferred_batch_size out" if largest > 0 else "set max_batch_size",
        )


@config_rule(C16)
def check_priorities(self: Rule, model: ModelDirectory, context: Context) -> Iterator[Finding]:
    """1 is the highest."""
    batching = model.message.dynamic_batching
    levels, default = batching.priority_levels, batching.default_priority_level
    if not levels:
        return
    if not 1 <= default <= levels:
        yield self.of(
            model,
            (_BATCHER, "default_priority_level") if default else (_BATCHER, "priority_levels"),
            f"default_priority_level is {default}; it can be 1 to {levels}",
            says=f"default priority level must be in range [1, {levels}] for {model.name}",
            mend="default_priority_level: 1",
        )
    for level in sorted(batching.priority_queue_policy):
        if not 1 <= level <= levels:
            yield self.of(
                model,
                (_BATCHER, "priority_queue_policy"),
                f"priority_queue_policy is of level {level}; there are 1 to {levels}",
                says=f"priority queue policy must have priority level in range [1, {levels}] for "
                f"{model.name}",
                mend=f"give it to a level of 1 to {levels}, or raise priority_levels",
            )


@config_rule(C17)
def check_ordering(self: Rule, model: ModelDirectory, context: Context) -> Iterator[Finding]:
    """Hold preserve_ordering against what it does not go with."""
    batching = model.message.dynamic_batching
    if not batching.preserve_ordering:
        return
    if batching.priority_levels > 1:
        yield self.of(
            model,
            (_BATCHER, "priority_levels"),
            f"priority_levels is {batching.priority_levels}, but preserve_ordering allows 1 only",
            says=f"Only one priority level is allowed when 'preserve_ordering' is true for {model.name}",
            mend="leave one of them out",
        )
    policies = [("default_queue_policy", batching.default_queue_policy)]
    policies += [("priority_queue_policy", policy) for policy in batching.priority_queue_policy.values()]
    for field, policy in policies:
        if policy.default_timeout_microseconds and policy.timeout_action == policy.DELAY:
            yield self.of(
                model,
                (_BATCHER, field),
                "timeout_action DELAY would break the order that preserve_ordering asks for",
                says="Queue policy can not have DELAY as timeout action when 'preserve_ordering' is true "
                f"for {model.name}",
                mend="timeout_action: REJECT",
            )


@config_rule(C25)
def check_cache(self: Rule, model: ModelDirectory, context: Context) -> Iterator[Finding]:
    """Expect no cache without --cache-config."""
    message = model.message
    if not message.response_cache.enable:
        return
    kinds = ["sequence batching scheduler"] * message.HasField("sequence_batching")
    kinds += ["'decoupled' transaction policy"] * message.model_transaction_policy.decoupled
    for kind in kinds:
        yield self.of(
            model,
            ("response_cache", "enable"),
            f"the response cache does not go with a {kind.replace(chr(39), '')}",
            says=f"Response Cache does not currently support model {model.name} with {kind}",
            mend="response_cache { enable: false }",
        )
    if not kinds and not context.options.cache_config:
        yield self.of(
            model,
            ("response_cache", "enable"),
            f"model '{model.name}' is to be cached, but without --cache-config nothing is",
            mend="--cache-config=local,size=BYTES",
            severity="warning",
        )


@config_rule(C37)
def check_metrics(self: Rule, model: ModelDirectory, context: Context) -> Iterator[Finding]:
    """Buckets of a histogram."""
    message = model.message
    metrics = getattr(message, "model_metrics", None)  # schemas up to 2.51 lack it
    if metrics is None or (context.server_fields and "inference.ModelMetrics" not in context.server_fields):
        return  # C04 speaks of it
    for index, control in enumerate(metrics.metric_control):
        if fault := _metric_fault(control):
            said, mend = fault
            yield self.of(model, ("model_metrics", "metric_control", index), said, says=said, mend=mend)


@config_rule(C37)
def check_tags(self: Rule, model: ModelDirectory, context: Context) -> Iterator[Finding]:
    """Triton puts an underscore before each, and does not survive what Prometheus refuses."""
    for name in sorted(model.message.metric_tags):
        if not _TAG.fullmatch(name):
            yield self.of(
                model,
                ("metric_tags",),
                f"metric_tags has '{name}', at which the server ends with a signal; a key has letters, "
                "digits and _, and does not begin with _",
                says="Invalid label name",
                mend=f'key: "{_NO_TAG.sub("_", name).strip("_") or "tag"}"',
            )


def _metric_fault(control: Any) -> tuple[str, str] | None:
    if not control.HasField("metric_identifier"):
        return "metric control must specify 'metric_identifier'", f"metric_identifier {{ {_FAMILY} }}"
    if not control.metric_identifier.family:
        return "metric identifier must specify non-empty 'family'", _FAMILY
    if not control.HasField("histogram_options"):
        return "metric control must specify 'histogram_options'", f"histogram_options {{ {_BUCKETS} }}"
    if not control.histogram_options.buckets:
        return "histogram options must specify non-empty 'buckets'", _BUCKETS
    return None
