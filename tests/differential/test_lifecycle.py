"""Loading: what initialize is given, how a config is completed, how loading fails, and unloading."""

from __future__ import annotations

import numpy as np

from tests.differential.calls import Config, Infer, Load, Log, State, Stream, Unload, Write, request
from tests.differential.table import IN_PROCESS, STOCK_BUG, Case, Differs, floats, ints, probes, step

CONFIG = step("served config", Config())
FAILS = (
    "fails_initialize fails_constructor fails_arguments fails_syntax fails_import fails_no_class fails_module "
    "refuses_nothing refuses_dict refuses_raise refuses_batch refuses_type"
)
NO_FILE = Differs(
    STOCK_BUG, "loading without model.py never ends", "Python model file not found in", stock=None
)
EXITS = Differs(IN_PROCESS, "an exit ends the stock stub", "SystemExit: not today", stock=None)
GOOD = """
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.array(["TEXT"], object))]) for _ in requests]
"""

TABLE = [
    Case(
        "arguments",
        probes=probes("keys values config config_keys parameters config_of_tensors model_dir repository"),
        steps=(CONFIG,),
    ),
    Case("minimal", (CONFIG, step("infer", Infer(request(IN="x"))), step("state", State()))),
    Case("auto_complete", (CONFIG, step("infer", Infer(request(IN=floats(1, 2, 3, 4)[None]))))),
    Case("auto_complete_none", (CONFIG, step("infer", Infer(request(IN=ints(1, 2)))))),
    Case("auto_complete_decoupled", (CONFIG, step("stream", Stream([request(IN="x")])))),
    Case("auto_complete_same", (CONFIG, step("infer", Infer(request(IN=np.ones((2, 4), np.float32)))))),
    Case("auto_complete_copy", (CONFIG, step("infer", Infer(request(IN=floats(1, 2, 3, 4)))))),
    Case(
        "model_config",
        probes=probes(
            "as_dict as_dict_is_the_same max_batch_size smaller_batch_size same_batch_size negative_batch_size "
            "text_batch_size dynamic_batching dynamic_batching_kept dynamic_batching_of_sequences "
            "dynamic_batching_of_ensemble add_input add_input_optional add_input_keyword add_input_other_property "
            "add_input_without_name add_input_without_type add_input_without_dims "
            "add_input_other_property_without_name add_input_again add_input_other_type add_input_open_type "
            "add_input_other_dims add_input_text_dims add_input_other_optional add_output add_output_optional "
            "add_output_without_name add_output_without_type add_output_without_dims add_output_other_type "
            "add_output_other_dims add_output_again policy policy_keyword policy_empty policy_other policy_changed "
            "policy_same of_dict of_bad_text private",
        ),
    ),
    *(Case(name, (step("state", State()),)) for name in FAILS.split()),
    Case("fails_no_file", (step("state", State(), NO_FILE),), load=NO_FILE),
    Case("fails_exit", (step("state", State(), EXITS),), load=EXITS),
    Case("refuses_policy", (CONFIG, step("state", State()))),
    Case("fails_finalize", (step("infer", Infer(request(IN="x"))), step("unload", Unload()))),
    Case("no_finalize", (step("infer", Infer(request(IN="x"))), step("unload", Unload()))),
    Case(
        "lifecycle",
        (
            step("first", Infer(request(IN="x"))),
            step("second", Infer(request(IN="x"))),
            step("unload", Unload()),
            step("log", Log("diff-life: ", 2)),
            step("load", Load()),
            step("unload again", Unload()),
            step("more log", Log("diff-life: ", 4)),
        ),
    ),
    Case(
        "reloaded",
        (
            step("first", Infer(request(IN="x"))),
            step("write", Write("1/model.py", GOOD.replace("TEXT", "first file"))),
            step("not yet", Infer(request(IN="x"))),
            step("load", Load()),
            step("second", Infer(request(IN="x"))),
            step("write again", Write("1/model.py", GOOD.replace("TEXT", "other file"))),
            step("load again", Load()),
            step("third", Infer(request(IN="x"))),
            step("write wrong", Write("1/model.py", "raise ValueError('broken file')\n")),
            step("load wrong", Load()),
            step("the old one goes on", Infer(request(IN="x"))),
            step("state", State()),
        ),
    ),
]


def test_answers_are_the_same(answers, model, name):
    answers.check(model, name)
