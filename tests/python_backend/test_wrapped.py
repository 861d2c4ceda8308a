"""A plugin that wraps a TritonPythonModel."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from tests.runtime.conftest import serve  # noqa: F401  the fixture
from triton_backend_sdk import InternalError
from triton_backend_sdk.python_backend.plugin import UTILS

WRAPS = """
import threading

from triton_backend_sdk.python_backend import PythonModelPlugin
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def initialize(self, args):
        self.args = args
        self.count = 0

    def execute(self, requests):
        self.count += 1
        return [self.answer(request) for request in requests]

    def answer(self, request):
        parameters = {"name": self.args["model_name"], "directory": pb_utils.get_model_dir()}
        if "fail" in str(request.parameters()):
            raise ValueError("no good")
        if "thread" in str(request.parameters()):
            thread = threading.Thread(target=self.ask, args=[parameters])
            thread.start()
            thread.join()
        array = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()
        return pb_utils.InferenceResponse([pb_utils.Tensor("OUT", array * self.count)], parameters=parameters)

    def ask(self, parameters):
        try:
            parameters["directory"] = pb_utils.get_model_dir()
        except pb_utils.TritonModelException as error:
            parameters["directory"] = str(error)

class Plugin(PythonModelPlugin):
    model_class = TritonPythonModel
"""
FLOATS = {"IN": np.ones(1, np.float32)}


def test_each_instance_has_an_object_of_the_class(serve):  # noqa: F811
    one = serve(WRAPS)
    two = serve(WRAPS, beside=one)

    for count in (1, 2):
        for served in (one, two):
            response = served.infer(FLOATS)
            assert response["OUT"].tolist() == [count]
            assert response.parameters["name"] == served.name
            assert response.parameters["directory"] == str(served.repository / served.name / "1")


def test_a_thread_of_the_models_own_is_told_when_it_could_be_anybodys(serve):  # noqa: F811
    one = serve(WRAPS)
    alone = one.infer(FLOATS, parameters={"thread": True}).parameters["directory"]
    two = serve(WRAPS, beside=one)
    lost = two.infer(FLOATS, parameters={"thread": True}).parameters["directory"]

    assert alone == str(one.repository / one.name / "1")
    assert "this thread belongs to none of the models here" in lost


def test_an_exception_is_told_as_the_stock_backend_does(serve):  # noqa: F811
    with pytest.raises(
        InternalError, match=r"^Failed to process the request\(s\) for model .*'.*ValueError: no good"
    ):
        serve(WRAPS).infer(FLOATS, parameters={"fail": True})


@pytest.mark.parametrize("name", UTILS)
def test_a_library_sees_that_it_is_there(name):
    assert importlib.util.find_spec(name) is not None
    assert importlib.import_module(name).InferenceResponse is not None
