"""Which file is a model's code."""

from __future__ import annotations

import numpy as np
import pytest

from tests.runtime.conftest import FP32, write_model
from triton_backend_sdk import InvalidArgError
from triton_backend_sdk.testing.core import TritonCore
from triton_backend_sdk.tools.build import build_backend
from triton_backend_sdk.tools.compat import compat_backend

TIMES = """
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def initialize(self, args):
        self.args = args

    def execute(self, requests):
        arrays = [pb_utils.get_input_tensor_by_name(request, "IN").as_numpy() for request in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", array * {factor})]) for array in arrays]
"""
FLOATS = {"IN": np.arange(3, dtype=np.float32)}


def test_the_file_that_the_config_names(serve_model):
    served = serve_model(
        TIMES.format(factor=2),
        helpers={"other.py": TIMES.format(factor=3)},
        extra='default_model_filename: "other.py"',
    )
    assert served.infer(FLOATS)["OUT"].tolist() == [0, 3, 6]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent.py", r"Python model file not found in '.*/1/absent\.py'"),
        ("model.txt", r"Model name must end with '\.py'\. Model name is \"model.txt\""),
    ],
)
def test_a_file_that_will_not_do(serve_model, name, message):
    served = serve_model(
        TIMES, helpers={"model.txt": ""}, extra=f'default_model_filename: "{name}"', load=False
    )
    with pytest.raises(InvalidArgError, match=message):
        served.core.load(served.name)


@pytest.fixture
def backends(tmp_path):
    """Give a folder with the stand-in for the stock backend, and two backends that are a model.py each."""
    build_backend(compat_backend("python"), tmp_path / "backends")
    for factor, name in enumerate(("doubling", "tripling"), start=2):
        folder = tmp_path / "backends" / name
        folder.mkdir()
        (folder / "model.py").write_text(TIMES.format(factor=factor))
        write_model(tmp_path / "models", f"{name}_model", name, *FP32)
    write_model(tmp_path / "models", "plain", "python", *FP32)
    (tmp_path / "models" / "plain" / "1" / "model.py").write_text(TIMES.format(factor=4))
    return tmp_path / "backends"


def test_backends_that_are_a_model_py(backends, tmp_path):
    with TritonCore(tmp_path / "models", backends) as core:
        for name, factor in [("doubling_model", 2), ("plain", 4), ("tripling_model", 3)]:
            core.load(name)
            assert core.infer(name, FLOATS, timeout=20)["OUT"].tolist() == [0, factor, 2 * factor]
        core.unload("plain")
        assert core.infer("doubling_model", FLOATS, timeout=20)["OUT"].tolist() == [0, 2, 4]
        log = core.log_text()
    assert "failed" not in log
