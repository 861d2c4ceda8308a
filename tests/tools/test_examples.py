import json
import shlex

import pytest

from triton_backend_sdk.dtypes import DataType
from triton_backend_sdk.tools.examples import curl_line, infer_line
from triton_backend_sdk.tools.metadata import ModelMetadata, TensorSpec


def model(*specs, max_batch_size=8):
    return ModelMetadata("m", ("1",), specs, (), max_batch_size)


def spec(datatype, *shape, name="IN", optional=False):
    return TensorSpec(name, DataType.of(datatype), shape, optional)


@pytest.mark.parametrize(
    ("given", "value"),
    [
        (model(spec("FP32", -1, -1)), "[[1,2,3]]"),
        (model(spec("INT8", -1, 2, -1)), "[[[1,2,3],[4,5,6]]]"),
        (model(spec("FP32", -1, -1, -1)), "[[[1]]]"),
        (model(spec("BOOL", 2), max_batch_size=0), "[true,false]"),
        (model(spec("BYTES", -1, 1)), '[["text 1"]]'),
        (model(spec("UINT8", -1, 224, 224, 3)), "@IN.npy"),
    ],
)
def test_infer_line(given, value):
    assert shlex.split(infer_line(given)) == ["tbsdk", "infer", "m", "-i", f"IN={value}"]


def test_an_url_is_added_where_it_is_not_the_usual_one():
    assert infer_line(model(spec("FP32", -1, 1)), "127.0.0.1:1").endswith(" --url 127.0.0.1:1")


def test_an_optional_input_is_left_out():
    given = model(spec("FP32", -1, 1), spec("FP32", -1, 1, name="MORE", optional=True))
    assert "MORE" not in infer_line(given)


def test_curl_line():
    words = shlex.split(str(curl_line(model(spec("INT32", -1, 2)), "127.0.0.1:1")))
    assert words[:4] == ["curl", "-s", "http://127.0.0.1:1/v2/models/m/infer", "-d"]
    assert json.loads(words[4]) == {
        "inputs": [{"name": "IN", "datatype": "INT32", "shape": [1, 2], "data": [[1, 2]]}]
    }


def test_no_curl_line_for_what_json_does_not_carry():
    assert curl_line(model(spec("FP16", -1, 1)), "u") is None
    assert curl_line(model(spec("FP32", -1, 10_000)), "u") is None
