import numpy as np
import pytest

from triton_backend_sdk.dtypes import DataType
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.metadata import ModelMetadata, TensorSpec
from triton_backend_sdk.tools.values import read_value


def read(text, datatype="FP32", shape=(-1, -1), *, batches=True):
    spec = TensorSpec("IN", DataType.of(datatype), shape)
    return read_value(text, spec, ModelMetadata("m", ("1",), (spec,), (), 8 if batches else 0))


@pytest.mark.parametrize(
    ("text", "datatype", "shape", "expected"),
    [
        ("1,2,3", "FP32", (-1, -1), [[1, 2, 3]]),
        ("[1,2,3]", "FP32", (-1, -1), [[1, 2, 3]]),
        ("[[1,2],[3,4]]", "FP32", (-1, -1), [[1, 2], [3, 4]]),
        ("1.5", "FP16", (-1, 1), [[1.5]]),
        (" 7 ", "INT8", (-1,), [7]),
        ("-1", "INT64", (-1, 1, 1), [[[-1]]]),
        ("18446744073709551615", "UINT64", (-1, 1), [[2**64 - 1]]),
        ("true,false", "BOOL", (-1, 2), [[True, False]]),
        ("NaN,Infinity", "FP64", (-1, 2), [[float("nan"), float("inf")]]),
        ("[]", "INT32", (-1, -1), np.zeros((1, 0), np.int32)),
        ("1,2", "BF16", (-1, -1), [[1, 2]]),
        ("hello, world", "BYTES", (-1, 1), [[b"hello, world"]]),
        ('"1"', "BYTES", (-1, 1), [[b"1"]]),
        ("1", "BYTES", (-1, 1), [[b"1"]]),
        ('{"a": 1}', "BYTES", (-1, 1), [[b'{"a": 1}']]),
        ('["a", "\u00e9"]', "BYTES", (-1, -1), [[b"a", "\u00e9".encode()]]),
    ],
)
def test_text(text, datatype, shape, expected):
    array = read(text, datatype, shape)
    assert array.dtype == DataType.of(datatype).numpy()
    np.testing.assert_array_equal(array, np.array(expected, dtype=array.dtype))


def test_a_model_that_does_not_batch_gets_no_dimension():
    assert read("1,2", shape=(2,), batches=False).shape == (2,)
    assert read("1", shape=(1, 1), batches=False).shape == (1, 1)


@pytest.mark.parametrize(
    ("text", "datatype", "given"),
    [
        ("a,b", "FP32", "got 'a,b', which is neither JSON nor a comma list"),
        ("1.5", "INT32", "got fractions"),
        ("true", "INT32", "got true/false"),
        ("1", "BOOL", "got whole numbers"),
        ('"1"', "FP32", "got texts"),
        ("null", "FP32", "got null"),
        ("[[1,2],[3]]", "FP32", "rows of different lengths"),
        ("300", "UINT8", "got 300 to 300, out of its range"),
        ("-1", "UINT64", "got -1 to -1, out of its range"),
        ("1e6", "FP16", "out of its range"),
        (str(2**70), "INT64", "too large"),
        ("[1]", "BYTES", "whose elements are no strings"),
        ("[[[1]]]", "FP32", r"has shape \[1, 1, 1\]"),
    ],
)
def test_what_does_not_fit_is_told(text, datatype, given):
    with pytest.raises(HandledError, match=f"input IN .*{given}.* expects {datatype} "):
        read(text, datatype)


def test_a_shape_that_does_not_fit_is_told():
    with pytest.raises(HandledError, match=r"has shape \[1, 3\], and the model expects FP32 \[-1, 2\]"):
        read("1,2,3", shape=(-1, 2))


def test_a_file(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((2, 3), np.float32))
    assert read(f"@{tmp_path}/a.npy").shape == (2, 3)


def test_a_file_of_strings(tmp_path):
    np.save(tmp_path / "a.npy", np.array(["a", "\u00e9"]))
    assert read(f"@{tmp_path}/a.npy", "BYTES").tolist() == [[b"a", "\u00e9".encode()]]


def test_a_file_of_another_datatype_is_told(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((2, 3)))
    with pytest.raises(HandledError, match=r"input IN has datatype float64 .* expects FP32"):
        read(f"@{tmp_path}/a.npy")


def test_a_file_that_is_missing_or_none_of_numpys_is_told(tmp_path):
    with pytest.raises(HandledError, match=r"input IN: no file .*none.npy"):
        read(f"@{tmp_path}/none.npy")
    (tmp_path / "text.npy").write_text("1,2,3")
    with pytest.raises(HandledError, match=r"input IN: .*text.npy is no array"):
        read(f"@{tmp_path}/text.npy")
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object))
    with pytest.raises(HandledError, match="without pickle"):
        read(f"@{tmp_path}/objects.npy")
    np.savez(tmp_path / "several.npz", a=np.ones(1), b=np.ones(1))
    with pytest.raises(HandledError, match="holds several arrays"):
        read(f"@{tmp_path}/several.npz")


def test_any_other_file_is_one_element_of_bytes(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8 not text \x00")
    array = read(f"@{tmp_path}/photo.jpg", "BYTES")
    assert array.ravel().tolist() == [b"\xff\xd8 not text \x00"]
    assert array.ndim == len(read('"text"', "BYTES").shape)
