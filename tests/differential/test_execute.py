"""What execute gives, raises and is given."""

from __future__ import annotations

import sys

import numpy as np

from tests.differential.calls import (
    Config,
    Http,
    Infer,
    Statistics,
    Together,
    http_infer,
    request,
)
from tests.differential.table import (
    IN_PROCESS,
    NEWER,
    STOCK_BUG,
    Case,
    Differs,
    Step,
    floats,
    ints,
    step,
)

RETURNED = (
    "good too_few too_many too_many_none tuple generator dict response nested text number false texts "
    "numbers tensor array object_array own_class class error list_subclass"
)
RAISED = (
    "custom empty unicode several_arguments key_error zero name_error attribute not_callable stop_iteration "
    "assertion assertion_plain cause context deep in_helper in_lambda in_comprehension in_library "
    "in_numpy syntax multi_line new_lines unspeakable os_error model_exception triton_error import_error group "
    "with_notes exec_text bytes_text null long"
)
CODES = "UNKNOWN INTERNAL NOT_FOUND INVALID_ARG UNAVAILABLE UNSUPPORTED ALREADY_EXISTS CANCELLED"
OUTPUTS = (
    "both swapped only_a none unknown twice wrong_dtype strings wrong_rank wrong_size empty scalar transposed "
    "stepped broadcast read_only case input"
)


def each(names: str, **differs) -> tuple[Step, ...]:
    """Send the names one after another in the input WHAT."""
    return tuple(step(name, Infer(request(WHAT=name), limit=8), differs.get(name)) for name in names.split())


def over_http(names: str) -> tuple[Step, ...]:
    return tuple(step(f"http_{name}", http_infer(WHAT=("BYTES", [name]))) for name in names.split())


def together(name: str, *whats: str) -> Step:
    return step(name, Together([request(WHAT=np.array([[what]], object)) for what in whats]))


HANGS = Differs(STOCK_BUG, "the client of a None waits for ever", "returned None", "DEADLINE_EXCEEDED")
EXITS = Differs(
    IN_PROCESS,
    "an exit ends the stock stub and the model with it",
    "SystemExit|KeyboardInterrupt|GeneratorExit|BaseException",
    stock=None,
)
#: asyncio.iscoroutine was true of generators before Python 3.12.
GENERATOR = (
    Differs(
        STOCK_BUG, "a generator is taken for a coroutine", "found type '<class 'generator'>'", "bad yield"
    )
    if sys.version_info < (3, 12)
    else None
)
TWICE = Differs(STOCK_BUG, "an output that is named twice", "INT32|twice", '""')
ROWS = [np.int32([[n, n + 1]] * (1 + n % 2)) for n in range(4)]
LONG_ID = "an id with ü and " + "x" * 300

TABLE = [
    Case(
        "add_sub",
        (
            step("both", Infer(request(A=floats(1, 2, 3, 4)[None], B=floats(5, 6, 7, 8)[None]))),
            step("rows", Infer(request(A=np.eye(4, dtype=np.float32), B=np.ones((4, 4), np.float32)))),
            step("no rows", Infer(request(A=np.zeros((0, 4), np.float32), B=np.zeros((0, 4), np.float32)))),
            step(
                "one output", Infer(request(["SUM"], A=floats(1, 2, 3, 4)[None], B=floats(5, 6, 7, 8)[None]))
            ),
            step(
                "not numbers",
                Infer(request(A=floats(np.nan, np.inf, -0.0, 1e-45)[None], B=floats(0, 0, 0, 0)[None])),
            ),
            step("wrong shape", Infer(request(A=floats(1, 2)[None], B=floats(1, 2)[None]))),
            step("wrong datatype", Infer(request(A=ints(1, 2, 3, 4)[None], B=ints(1, 2, 3, 4)[None]))),
            step(
                "too many rows", Infer(request(A=np.ones((9, 4), np.float32), B=np.ones((9, 4), np.float32)))
            ),
            step("missing input", Infer(request(A=floats(1, 2, 3, 4)[None]))),
            step(
                "no such output",
                Infer(request(["NO"], A=floats(1, 2, 3, 4)[None], B=floats(1, 2, 3, 4)[None])),
            ),
            step(
                "id", Infer(request(A=ROWS[0][:, :0].astype(np.float32), B=ROWS[0][:, :0].astype(np.float32)))
            ),
            step("config", Config()),
            step("statistics", Statistics()),
        ),
    ),
    Case(
        "returned",
        (
            *each(
                RETURNED,
                generator=GENERATOR,
                **{
                    "class": Differs(
                        IN_PROCESS, "the class of classes", "found type '<class 'type'>'", "pybind11_type"
                    )
                },
            ),
            *over_http("good text too_few"),
            step("statistics", Statistics()),
            *each("nothing none_in_list", nothing=HANGS, none_in_list=HANGS),
            *each("good_again"),
        ),
    ),
    Case(
        "raised",
        (
            *each(RAISED, null=Differs(STOCK_BUG, "a text ends at its first NUL", "after", "before")),
            *over_http("custom unicode"),
        ),
    ),
    *(Case(f"exits_{name}", each("x", x=EXITS)) for name in ["system", "keyboard", "generator", "base"]),
    Case(
        "errors",
        (
            *each(
                f"{CODES} with_outputs empty no_code good long",
                empty=Differs(IN_PROCESS, "an error without a text", "InternalError", '""'),
            ),
            *over_http(f"{CODES} no_code"),
        ),
    ),
    Case(
        "batch_mixed",
        (
            together("good", "a", "b", "c", "d"),
            together("an error", "a", "error", "c", "d"),
            together("errors only", "error", "error", "error", "error"),
            together("raised", "a", "raise", "c", "d"),
            together("wrong kind", "a", "wrong", "c", "d"),
            together("too short", "a", "short", "c", "d"),
            step(
                "statistics",
                Statistics(),
                Differs(STOCK_BUG, "an error is counted as a success", '"inference_count": "7"', '"12"'),
            ),
        ),
    ),
    Case(
        "batch_seen",
        (
            step("four requests", Together([request(IN=rows) for rows in ROWS])),
            step(
                "outputs",
                Together([request(["OUT"] if n % 2 else ["TEXT"], IN=rows) for n, rows in enumerate(ROWS)]),
            ),
            step("statistics", Statistics()),
        ),
    ),
    Case(
        "outputs",
        (
            *each(OUTPUTS, twice=TWICE),
            *(
                step(
                    f"{name} of {wanted}",
                    Infer(request(wanted, WHAT=name), limit=8),
                    TWICE if name == "twice" and "A" in wanted else None,
                )
                for name in ("both", "unknown", "twice", "only_a", "none", "wrong_dtype")
                for wanted in (["A"], ["B"], ["B", "A"], ["A", "A"])
            ),
            step("asked_for", Infer(request(OTHER="x"))),
            step("asked_for_some", Infer(request(["TEXT", "A"], OTHER="x"))),
            step("asked_for_twice", Infer(request(["TEXT", "TEXT"], OTHER="x"))),
            step("http", http_infer(WHAT=("BYTES", ["both"]))),
        ),
    ),
    Case("no_execute", (step("infer", Infer(request(IN="x"))),)),
    Case("static_execute", (step("infer", Infer(request(IN="x"))),)),
    Case(
        "async_execute",
        tuple(
            step(name, Infer(request(IN=name)))
            for name in ["first", "raise", "none", "tuple", "task", "loop", "last"][:2]
        )
        + tuple(step(name, Infer(request(IN=name))) for name in ["tuple", "task", "loop", "last"]),
    ),
    Case(
        "future_execute",
        (
            *tuple(step(name, Infer(request(IN=name))) for name in ["future", "async"]),
            step(
                "generator",
                Infer(request(IN="generator")),
                GENERATOR,
            ),
        ),
    ),
    Case(
        "parameters",
        (
            step("none", Infer(request(IN="x"))),
            step(
                "all kinds",
                Infer(request(parameters={"text": "ü", "int": -5, "yes": True, "no": False}, IN="x")),
            ),
            step("order", Infer(request(parameters={"b": 1, "a": 2, "c": 3}, IN="x"))),
            step("big", Infer(request(parameters={"big": 2**62}, IN="x"))),
            step("id", Infer(request(more={"request_id": LONG_ID}, IN="x"))),
            step("timeout", Infer(request(more={"timeout": 123456}, IN="x"))),
            step("priority", Infer(request(more={"priority": 1}, IN="x"))),
            step("outputs", Infer(request(["OUT"], IN="x"))),
            step("sequence", Infer(request(more={"sequence_id": 5, "sequence_start": True}, IN="x"))),
            step("sequence text", Infer(request(more={"sequence_id": "five", "sequence_end": True}, IN="x"))),
            step(
                "http",
                Http(
                    "/v2/models/{model}/infer",
                    {
                        "id": "7",
                        "parameters": {"text": "ü", "int": 5, "yes": True},
                        "inputs": [{"name": "IN", "datatype": "BYTES", "shape": [1], "data": ["x"]}],
                    },
                ),
            ),
            step(
                "http float",
                Http(
                    "/v2/models/{model}/infer",
                    {
                        "parameters": {"float": 1.5},
                        "inputs": [{"name": "IN", "datatype": "BYTES", "shape": [1], "data": ["x"]}],
                    },
                ),
            ),
            step(
                "generate", Http("/v2/models/{model}/generate", {"IN": "x", "temperature": 3, "stop": "now"})
            ),
        ),
    ),
    Case(
        "sequence",
        tuple(
            step(
                f"number {at}",
                Infer(
                    request(
                        IN=ints(at),
                        more={"sequence_id": 7, "sequence_start": at == 1, "sequence_end": at == 3},
                    )
                ),
            )
            for at in (1, 2, 3)
        )
        + tuple(
            step(
                f"text {at}",
                Infer(
                    request(
                        IN=ints(at),
                        more={"sequence_id": "sieben", "sequence_start": at == 1, "sequence_end": at == 3},
                    )
                ),
            )
            for at in (1, 2, 3)
        )
        + (
            step("no start", Infer(request(IN=ints(1), more={"sequence_id": 9}))),
            step("none", Infer(request(IN=ints(1)))),
        ),
    ),
    Case(
        "sequence_controls",
        tuple(
            step(
                f"number {at}",
                Infer(
                    request(
                        IN=ints(at),
                        more={"sequence_id": 7, "sequence_start": at == 1, "sequence_end": at == 3},
                    )
                ),
            )
            for at in (1, 2, 3)
        ),
    ),
    Case(
        "response_parameters",
        tuple(
            step(
                name,
                Infer(request(IN=name)),
                Differs(NEWER, "parameters of responses", ours, "incompatible constructor"),
            )
            for name, ours in {
                "all": '"negative": -7',
                "empty": '"x"',
                "big": '"big": 9223372036854775807',
                "too_big": "too big|int",
                "float": '"float": 1.5',
                "list": "list",
                "none": '"x"',
                "none_value": "None",
                "own_name": '"x"',
            }.items()
        ),
    ),
]


def test_answers_are_the_same(answers, model, name):
    answers.check(model, name)
