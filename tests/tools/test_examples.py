import json
import shlex

import pytest

from triton_backend_sdk.dtypes import DataType
from triton_backend_sdk.tools.examples import curl_line, infer_line
from triton_backend_sdk.tools.metadata import ModelMetadata, TensorSpec


def model(*specs, max_batch_size=8, **more):
    return ModelMetadata("m", ("1",), specs, (), max_batch_size, **more)


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


def test_a_decoupled_model_is_asked_for_a_stream():
    given = model(spec("INT32", -1, 2), spec("BYTES", -1, 1, name="TEXT"), decoupled=True)
    assert infer_line(given).endswith(" --protocol grpc")
    words = shlex.split(str(curl_line(given, "127.0.0.1:1")))
    assert words[:4] == ["curl", "-sN", "http://127.0.0.1:1/v2/models/m/generate_stream", "-d"]
    assert json.loads(words[4]) == {"IN": [1, 2], "TEXT": "text 1"}
    assert curl_line(model(spec("INT32", -1, 2, 2), decoupled=True), "u") is None


def test_a_model_with_sequences_gets_a_whole_one():
    given = model(spec("INT32", 1), max_batch_size=0, sequences=True)
    own = {"sequence_id": 1, "sequence_start": True, "sequence_end": True}
    assert infer_line(given).endswith(
        " --param=sequence_id=1 --param=sequence_start=true --param=sequence_end=true"
    )
    assert json.loads(shlex.split(str(curl_line(given, "u")))[4])["parameters"] == own
