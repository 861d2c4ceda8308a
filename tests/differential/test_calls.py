"""Models that call other models, and load them."""

from __future__ import annotations

from tests.differential.calls import Infer, Statistics, Stream, request
from tests.differential.table import LIFTED, NEWER, STOCK_BUG, Case, Differs, ints, probes, step

ASYNC = (
    "one gathered tasks future_kind error unknown_model unknown_output wait_for as_completed decoupled "
    "decoupled_error decoupled_gathered not_awaited exec_in_coroutine exec_in_executor"
)

CODES = Differs(LIFTED, "a callee's code is kept", "NOT_FOUND|UNAVAILABLE|CANCELLED", "INTERNAL")
LOST = Differs(STOCK_BUG, "an error in a callee's stream is lost", "below zero")
VERSION = Differs(
    STOCK_BUG,
    "the stock server dies, every other time, of a version that is none",
    "failed to get model version from specified version string",
    stock=None,
)
NO_PREFIX = Differs(
    STOCK_BUG, "a path of files without file: is ignored", "should begin with 'file:'", "None"
)

TABLE = [
    Case(
        "calls",
        probes=probes(
            "good error_is_none two_outputs told no_outputs version wrong_version unknown_model empty_model_name "
            "unknown_output unknown_input no_input wrong_datatype wrong_shape input_twice empty_input callee_raises "
            "callee_errors output_by_name input_passed_on output_passed_on output_tensor_renamed same_request_twice "
            "exec_none exec_positional exec_text in_thread in_threads preferred_memory "
            "preferred_memory_keywords with_trace async_outside sequence sequence_set_flags sequence_without_start "
            "sequence_text add_sub not_contiguous large many kept_outputs response_kind output_written",
            callee_errors=CODES,
        ),
        steps=(step("callee's statistics", Statistics()),),
        needs=("callee", "callee_sequence", "add_sub"),
    ),
    Case(
        "call_streams",
        probes=probes(
            "three one zero error kind next_by_hand twice iter_is_itself two_at_once not_asked_for unknown_output "
            "unknown_model responses_kept no_constructor left_early cancel",
            error=LOST,
            cancel=Differs(NEWER, "ResponseIterator.cancel", r"\(None, True\)", "no attribute 'cancel'"),
        ),
        needs=("callee_stream",),
    ),
    Case(
        "calls_async",
        tuple(
            step(name, Infer(request(IN=name)), {"error": CODES, "decoupled_error": LOST}.get(name))
            for name in ASYNC.split()
        ),
        needs=("callee", "callee_stream"),
    ),
    Case(
        "calls_nested",
        tuple(
            step(name, Infer(request(IN=name)), CODES if name == "NOT_FOUND" else None)
            for name in ["text", "NOT_FOUND", "INTERNAL", "raise"]
        ),
        needs=("callee", "calls_passing"),
    ),
    Case(
        "calls_passing",
        tuple(
            step(name, Infer(request(IN=name)), CODES if name in ("UNAVAILABLE", "CANCELLED") else None)
            for name in ["text", "UNAVAILABLE", "CANCELLED", "INTERNAL", "raise"]
        ),
        needs=("callee",),
    ),
    Case(
        "calls_early",
        probes=probes(
            "early",
            early=Differs(LIFTED, "calls in initialize", "early", "only supported during the 'execute'"),
        ),
        needs=("callee",),
    ),
    Case(
        "calls_stream_stream",
        tuple(
            step(str(count), Stream([request(IN=ints(count))]), LOST if count < 0 else None)
            for count in (3, 0, -1)
        ),
        needs=("callee_stream",),
    ),
    Case(
        "loads_models",
        probes=probes(
            "ready_before call load_it ready call_again ready_version ready_wrong_version ready_negative_version "
            "ready_unknown ready_none load_unknown load_config call_third load_config_keyword call_fourth "
            "load_wrong_config load_config_dict load_none ready_after unload after_unload call_unloaded "
            "unload_unknown unload_none unload_text",
            ready_wrong_version=VERSION,
            ready_negative_version=VERSION,
        ),
        beside=("loaded",),
    ),
    Case(
        "loads_files",
        probes=probes(
            "load_files_prefixed call load_files load_files_without_config load_files_text load_files_list load_files_int",
            load_files=NO_PREFIX,
        ),
        beside=("loaded_files",),
    ),
]


def test_answers_are_the_same(answers, model, name):
    answers.check(model, name)
