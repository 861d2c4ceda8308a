"""Decoupled models, response senders, coroutines that stream, and rescheduling."""

from __future__ import annotations

import numpy as np

from tests.differential.calls import Http, Infer, Log, Statistics, Stream, request
from tests.differential.table import IN_PROCESS, STOCK_BUG, Case, Differs, Step, ints, step

COUNTED = Differs(STOCK_BUG, "an error that was sent is counted as a success", '"fail": "[1-9]')

DECOUPLED = (
    "none one one_then_final many keywords flags_zero same_response_twice no_sender_is_one send_nothing send_none "
    "send_wrong_flag send_text send_list send_tensor send_flag_text after_final tell error error_in_the_middle "
    "raises raises_after_one returns_list returns_text unknown_output no_outputs in_thread "
    "in_thread_with_request cancelled pruned is_release_all"
)


def streams(names: str, key: str = "WHAT", **differs) -> tuple[Step, ...]:
    return tuple(
        step(name, Stream([request(**{key: name})], limit=8), differs.get(name)) for name in names.split()
    )


def rows(*counts: int):
    return [request(IN=np.int32([[count]])) for count in counts]


TABLE = [
    Case(
        "decoupled",
        (
            *streams(
                DECOUPLED,
                send_flag_text=Differs(
                    IN_PROCESS, "flags that are no number", "Unsupported flag", "TypeError"
                ),
            ),
            step("told after empty final", Stream([request(WHAT="after_empty_final"), request(WHAT="tell")])),
            step("pruned to one", Stream([request(["MORE"], WHAT="pruned")])),
            step("several", Stream([request(WHAT=name) for name in ["one", "many", "none", "in_thread"]])),
            step("not a stream", Infer(request(WHAT="one"))),
            step("generate", Http("/v2/models/{model}/generate", {"WHAT": "one"})),
            step("generate none", Http("/v2/models/{model}/generate", {"WHAT": "none"})),
            step("generate many", Http("/v2/models/{model}/generate", {"WHAT": "many"})),
            step("generate stream", Http("/v2/models/{model}/generate_stream", {"WHAT": "many"})),
            step(
                "generate error", Http("/v2/models/{model}/generate_stream", {"WHAT": "error_in_the_middle"})
            ),
            step(
                "http",
                Http(
                    "/v2/models/{model}/infer",
                    {"inputs": [{"name": "WHAT", "datatype": "BYTES", "shape": [1], "data": ["one"]}]},
                ),
            ),
            *streams("raises_after_final returns_after_final"),
            step("goes on", Stream([request(WHAT="one")])),
            step("statistics", Statistics(), COUNTED),
        ),
    ),
    Case(
        "decoupled_async",
        (
            *streams("one many task gather returns"),
            step("at once", Stream([request(WHAT="waits"), request(WHAT="lets_go")])),
            *streams("raises_after_final"),
            step(
                "log",
                Log("diff-tag: after the final response"),
                Differs(
                    IN_PROCESS, "where a line of the log comes from", "ValueError: diff-tag", "Traceback"
                ),
            ),
            step("goes on", Stream([request(WHAT="one")])),
        ),
    ),
    Case(
        "decoupled_batch",
        (
            step("four", Stream(rows(1, 0, 2, 4))),
            step("an error", Stream(rows(3, 1, 1, 1))),
            step("statistics", Statistics(), COUNTED),
        ),
    ),
    Case(
        "decoupled_cancel",
        (
            step("cancelled", Stream([request(IN="run")], cancel_after=1)),
            step("seen", Stream([request(IN="tell")])),
        ),
    ),
    Case(
        "reschedule_decoupled",
        (
            step("three", Stream([request(IN=ints(3))])),
            step("one", Stream([request(IN=ints(1))])),
            step("two streams", Stream([request(IN=ints(2)), request(IN=ints(3))])),
            step("statistics", Statistics()),
        ),
    ),
    Case(
        "reschedule",
        (
            step("third call", Infer(request(IN=ints(1)), limit=8)),
            step("again", Infer(request(IN=ints(1)), limit=8)),
            step("with a response", Infer(request(IN=ints(9)), limit=8)),
            step("statistics", Statistics()),
        ),
    ),
    Case(
        "senders",
        (
            *tuple(
                step(name, Infer(request(IN=name), limit=6))
                for name in [
                    "sends",
                    "sends_and_returns_none",
                    "sends_without_final",
                    "final_first",
                    "sends_two",
                    "tell",
                    "after_final",
                    "in_thread",
                    "unused",
                    "error",
                    "other_output",
                ]
            ),
            step("told", Infer(request(IN="tell"))),
            step("pruned", Infer(request(["OUT"], IN="other_output"))),
            step("sends_and_returns", Infer(request(IN="sends_and_returns"), limit=6)),
            step(
                "raises_after_sending",
                Infer(request(IN="raises_after_sending"), limit=6),
                Differs(
                    STOCK_BUG, "the stock server dies of an exception after the response", '"1"', stock=None
                ),
            ),
            step("goes on", Infer(request(IN="sends"), limit=6)),
        ),
    ),
]


def test_answers_are_the_same(answers, model, name):
    answers.check(model, name)
