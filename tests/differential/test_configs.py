"""Models whose config makes the difference, and what a model keeps between two requests."""

from __future__ import annotations

import numpy as np

from tests.differential.calls import (
    Config,
    Http,
    Infer,
    Log,
    Metrics,
    Statistics,
    Together,
    Unload,
    request,
    texts,
)
from tests.differential.table import STOCK_BUG, Case, Differs, ints, step

X = request(IN="x")
GONE = Differs(STOCK_BUG, "metrics of an unloaded model stay", r"^\[\]$", "diff")
READY = Http("/v2/models/{model}/ready", method="GET")

TABLE = [
    Case(
        "keeps_request",
        (
            step("first", Infer(X)),
            step("second", Infer(X)),
            step("unload", Unload()),
            step("log", Log("diff-kept: ")),
        ),
    ),
    Case(
        "keeps_numbers",
        (*(step(str(at), Infer(request(IN=ints(at, at)))) for at in range(4)), step("unload", Unload())),
    ),
    Case(
        "is_ready",
        (
            step("before", READY),
            step("yes", Infer(request(IN="yes"))),
            step("ready", READY),
            step("no", Infer(request(IN="no"))),
            step("not asked", READY),
            step("yes again", Infer(request(IN="yes"))),
        ),
    ),
    Case(
        "threads",
        (
            step("infer", Infer(request(IN="text"))),
            step("log", Log("diff-thread: ")),
            step("metric", Metrics("diffthreads")),
            step("unload", Unload()),
            step("metrics after unload", Metrics("diffthreads"), GONE),
        ),
    ),
    Case(
        "optional_inputs",
        (
            step("all", Infer(request(A=ints(1), B=ints(2), C=ints(3)))),
            step("other order", Infer(request(C=ints(3), A=ints(1)))),
            step("one", Infer(request(B=ints(2)))),
            step("none", Infer(request())),
            step("empty", Infer(request(B=ints()))),
        ),
    ),
    Case(
        "reshaped",
        (
            step("infer", Infer(request(IN=np.arange(8, dtype=np.float32).reshape(2, 4)))),
            step("config", Config()),
        ),
    ),
    Case(
        "labels",
        (
            step("scores", Infer(X)),
            step(
                "labels",
                Http(
                    "/v2/models/{model}/infer",
                    {
                        "inputs": [{"name": "IN", "datatype": "BYTES", "shape": [1], "data": ["x"]}],
                        "outputs": [{"name": "OUT", "parameters": {"classification": 2}}],
                    },
                ),
            ),
        ),
    ),
    Case("warmed", (step("infer", Infer(request(IN=ints(1, 2)))), step("statistics", Statistics()))),
    Case(
        "ragged",
        (
            step("two lengths", Together([request(IN=np.int32([[1, 2, 3]])), request(IN=np.int32([[1]]))])),
            step("statistics", Statistics()),
        ),
    ),
    Case(
        "pipeline",
        (
            step("infer", Infer(request(IN=texts("a", "b")))),
            step("error", Infer(request(IN="fail"))),
            step("statistics", Statistics()),
        ),
        needs=("pipeline_step",),
    ),
]


def test_answers_are_the_same(answers, model, name):
    answers.check(model, name)
