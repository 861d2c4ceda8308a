"""The functions that need no server: what they give and raise is what the stock backend's do."""

from __future__ import annotations

import builtins
import struct

import ml_dtypes
import numpy as np
import pytest

from tests.python_backend.stock import stock_utils
from triton_backend_sdk.python_backend import datatypes


@pytest.fixture(scope="module")
def stock():
    return stock_utils()


class Named:
    def __init__(self, name):
        self._name = name

    def name(self):
        return self._name


class Holder:
    """A request and a response alike."""

    def __init__(self, *names):
        self._tensors = [Named(name) for name in names]

    def inputs(self):
        return self._tensors

    output_tensors = inputs


AB = Holder("A", "B", "A")
CONFIG = {"input": [{"name": "A", "dims": [1]}, {"name": "B"}], "output": [{"name": "B", "dims": [2]}]}
TEXTS = [
    np.array([], dtype=np.object_),
    np.array(["ä", b"\xff\x00", 12, None, 1.5, "", b""], dtype=np.object_),
    np.array([[b"a", b"bc"], [b"", b"d"]], dtype=np.object_),
    np.array([[b"a", b"bc"], [b"", b"d"]], dtype=np.object_).T,
    np.array([b"a\x00b", b"c\x00", b""]),
    np.array(["a", "b"]),
    np.array(b"one", dtype=np.object_),
    np.array([np.bytes_(b"x"), np.str_("y")], dtype=np.object_),
    np.arange(3),
    np.zeros((0, 3), dtype=np.int8),
]
NESTED = np.empty(1, dtype=np.object_)
NESTED[0] = [1, 2]
HELLO = b"\x05\x00\x00\x00hello\x00\x00\x00\x00"
KINDS = ["bool_", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32",
         "float64", "object_", "bytes_", "str_", "longlong", "complex64", "datetime64"]  # fmt: skip
CASES = [
    *[("triton_to_numpy_type", (number,)) for number in (-1, *range(14), 15, 99, True, 2.0, "1", None, [], np.int32(3))],
    *[("numpy_to_triton_type", (getattr(np, kind),)) for kind in KINDS],
    *[("numpy_to_triton_type", (np.dtype(getattr(np, kind)),)) for kind in KINDS],
    *[("numpy_to_triton_type", (odd,)) for odd in (bool, int, float, object, bytes, str, None, "int8", 8, np.dtype(">i4"), np.dtype("S5"))],
    *[("triton_string_to_numpy", (name,)) for name in ("TYPE_BOOL", "TYPE_UINT8", "TYPE_UINT16", "TYPE_UINT32", "TYPE_UINT64", "TYPE_INT8", "TYPE_INT16", "TYPE_INT32", "TYPE_INT64", "TYPE_FP16", "TYPE_FP32", "TYPE_FP64", "TYPE_STRING", "FP32", "", None, "TYPE_INVALID")],
    *[("serialize_byte_tensor", (array,)) for array in (*TEXTS, NESTED)],
    *[("serialize_byte_tensor", (odd,)) for odd in (None, [b"a"], b"a")],
    *[("deserialize_bytes_tensor", (data,)) for data in (b"", HELLO, bytearray(HELLO), memoryview(HELLO), np.frombuffer(HELLO, np.uint8), HELLO[:-1], HELLO[:7], b"\x01", None, "text")],
    *[("get_input_tensor_by_name", (AB, name)) for name in ("A", "B", "C", None)],
    *[("get_output_tensor_by_name", (AB, name)) for name in ("A", "B", "C", None)],
    *[(f"get_{which}_config_by_name", (config, name)) for which in ("input", "output") for config in (CONFIG, {}, {"input": []}, {"input": [{}], "output": [{}]}, None) for name in ("A", "B", "C")],
    *[("using_decoupled_model_transaction_policy", (config,)) for config in ({}, {"model_transaction_policy": {"decoupled": True}}, {"model_transaction_policy": {"decoupled": False}}, {"model_transaction_policy": {}}, None)],
]  # fmt: skip


def outcome(function, arguments):
    """Give what a call gives, or what it raises."""
    try:
        return function(*arguments)
    except Exception as error:
        return type(error)


def same(ours, stocks):
    if isinstance(stocks, np.ndarray):
        return ours.dtype == stocks.dtype and ours.shape == stocks.shape and ours.tolist() == stocks.tolist()
    return type(ours) is type(stocks) and (ours is stocks or ours == stocks)


@pytest.mark.parametrize(
    ("name", "arguments"), CASES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_as_the_stock_backend(stock, name, arguments):
    ours = outcome(getattr(datatypes, name), arguments)
    stocks = outcome(getattr(stock, name), arguments)
    assert same(ours, stocks), f"{ours!r}, the stock backend: {stocks!r}"


def test_the_table_is_the_stock_backends(stock):
    assert datatypes.TRITON_STRING_TO_NUMPY == stock.TRITON_STRING_TO_NUMPY
    assert list(datatypes.TRITON_STRING_TO_NUMPY) == list(stock.TRITON_STRING_TO_NUMPY)


def test_a_model_that_writes_into_the_table_writes_into_its_own():
    one, other = (datatypes.names(None)["TRITON_STRING_TO_NUMPY"] for _ in range(2))
    one["TYPE_MINE"] = int
    assert "TYPE_MINE" not in other
    assert "TYPE_MINE" not in datatypes.TRITON_STRING_TO_NUMPY


def test_every_function_is_in_the_utils_module(stock):
    others = {name for name in vars(stock) if name.startswith(("__", "TRITONSERVER_"))} | {"ModelConfig"}
    assert set(vars(stock)) - others <= set(datatypes.names(None))


def test_bfloat16_where_ml_dtypes_is_installed(monkeypatch):
    bfloat16 = ml_dtypes.bfloat16
    assert datatypes.triton_to_numpy_type(14) is bfloat16
    assert (
        datatypes.numpy_to_triton_type(bfloat16) == datatypes.numpy_to_triton_type(np.dtype(bfloat16)) == 14
    )
    assert datatypes.triton_string_to_numpy("TYPE_BF16") is bfloat16

    real = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", lambda name, *more: missing(name) or real(name, *more))
    assert datatypes.triton_to_numpy_type(14) is None
    assert datatypes.numpy_to_triton_type(bfloat16) is None
    with pytest.raises(KeyError):
        datatypes.triton_string_to_numpy("TYPE_BF16")


def missing(name):
    if name == "ml_dtypes":
        raise ImportError(name)


def test_an_element_cut_off_says_so_as_struct_does():
    with pytest.raises(struct.error, match="requires a buffer"):
        datatypes.deserialize_bytes_tensor(HELLO[:7])


def test_both_ways():
    array = np.array([str(number).encode() * (number % 7) for number in range(1000)], dtype=np.object_)
    back = datatypes.deserialize_bytes_tensor(datatypes.serialize_byte_tensor(array))
    assert back.tolist() == array.tolist()
