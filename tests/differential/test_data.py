"""All datatypes both ways, texts above all, and what a model does to its inputs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tritonclient.grpc as triton

from tests.differential.calls import Http, Infer, Statistics, failure, http_infer, read, request, texts
from tests.differential.table import IN_PROCESS, LIFTED, STOCK_BUG, Case, Differs, ints, step

KINDS = [
    "BOOL",
    "UINT8",
    "UINT16",
    "UINT32",
    "UINT64",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "FP16",
    "FP32",
    "FP64",
]


@dataclass(frozen=True)
class Bfloat16:
    """Send 1.5 and -2 as BF16."""

    def run(self, side, model):
        tensor = triton.InferInput("IN", [2], "BF16")
        tensor._raw_content = np.array([0x3FC0, 0xC000], "<u2").tobytes()
        try:
            return read(side, side.client.infer(model, [tensor], client_timeout=20))
        except triton.InferenceServerException as error:
            return failure(side, error)


STRINGS = (
    "bytes texts mixed fixed unicode matrix transposed cube empty empty_rows zeros numpy_bytes bytearray list_inside "
    "big many surrogate scalar stepped subclass shown"
)
OUT = {
    "numpy_bytes": Differs(STOCK_BUG, "np.bytes_ becomes the text of its repr", '"x"', "b'x'"),
    "surrogate": Differs(
        IN_PROCESS, "texts are encoded with the response", "surrogates not allowed", "surrogates not allowed"
    ),
}


def extreme(kind: str) -> np.ndarray:
    dtype = np.dtype(
        {"BOOL": "bool", "FP16": "float16", "FP32": "float32", "FP64": "float64"}.get(kind, kind.lower())
    )
    if dtype.kind == "b":
        return np.array([[True, False]])
    if dtype.kind == "f":
        info = np.finfo(dtype)
        return np.array([[info.max, info.tiny, np.nan, -np.inf, -0.0]], dtype)
    info = np.iinfo(dtype)
    return np.array([[info.min, info.max, 1]], dtype)


ALL = {f"IN_{kind}": extreme(kind) for kind in KINDS}
TEXTS = texts("ä", "", b"\xff\x00", "x" * 70000)

TABLE = [
    Case(
        "every_datatype",
        (
            *(step(kind, Infer(request(**{f"IN_{kind}": extreme(kind)}))) for kind in KINDS),
            step("all", Infer(request(**ALL))),
            step("texts", Infer(request(IN_STRING=TEXTS.reshape(2, 2)))),
            step(
                "empty",
                Infer(request(IN_FP32=np.zeros((0, 3), np.float32), IN_STRING=np.zeros((2, 0), object))),
            ),
            step(
                "large",
                Infer(
                    request(IN_UINT8=np.arange(3_000_000, dtype=np.uint32).astype(np.uint8).reshape(1000, -1))
                ),
            ),
            step(
                "http texts",
                Http(
                    "/v2/models/{model}/infer",
                    {
                        "inputs": [
                            {"name": "IN_STRING", "datatype": "BYTES", "shape": [1, 2], "data": ["ä", ""]}
                        ]
                    },
                ),
            ),
            step(
                "http numbers",
                Http(
                    "/v2/models/{model}/infer",
                    {
                        "inputs": [
                            {"name": "IN_INT64", "datatype": "INT64", "shape": [1, 2], "data": [1, -(2**62)]}
                        ]
                    },
                ),
            ),
            step(
                "http floats",
                Http(
                    "/v2/models/{model}/infer",
                    {
                        "inputs": [
                            {"name": "IN_FP32", "datatype": "FP32", "shape": [1, 2], "data": [0.1, 1e30]}
                        ]
                    },
                ),
            ),
            step("statistics", Statistics()),
        ),
    ),
    Case(
        "datatypes_seen",
        (
            *(step(kind, Infer(request(**{f"IN_{kind}": extreme(kind)}))) for kind in KINDS),
            step("all", Infer(request(**ALL))),
            step("texts", Infer(request(IN_STRING=texts("ä", "", b"\xff\x00", "x").reshape(2, 2)))),
            step("empty", Infer(request(IN_FP32=np.zeros((0, 3), np.float32)))),
            step("empty texts", Infer(request(IN_STRING=np.zeros((0, 3), object)))),
        ),
    ),
    Case(
        "bfloat16",
        (step("infer", Bfloat16(), Differs(LIFTED, "BF16 as an array", r"1\.5, -2\.0", stock="")),),
    ),
    Case(
        "strings_out", tuple(step(name, Infer(request(IN=name)), OUT.get(name)) for name in STRINGS.split())
    ),
    Case(
        "inputs_written",
        (
            step("first", Infer(request(IN=ints(1, 2, 3)))),
            step("again", Infer(request(IN=ints(1, 2, 3)))),
            step("http", http_infer(IN=("INT32", [5, 6, 7]))),
        ),
    ),
    Case(
        "inputs_written_far",
        (step("all", Infer(request(A=ints(1, 2, 3), B=ints(3, 1, 2), C=ints(1, 2), D=ints(1, 2)))),),
    ),
    Case("inputs_kept", tuple(step(str(at), Infer(request(IN=ints(at, at + 1)))) for at in range(3))),
]


def test_answers_are_the_same(answers, model, name):
    answers.check(model, name)
