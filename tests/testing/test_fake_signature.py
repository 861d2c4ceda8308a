"""The fake host completes and checks a config as the real core does."""

import types

import numpy as np
import pytest

from triton_backend_sdk import InvalidArgError, Parameter, Response, Signature, TensorSpec, hookimpl
from triton_backend_sdk.testing import FakeHost

SCALE = Parameter("scale", float, 2.0)


class Plugin:
    signature = Signature(
        inputs=[TensorSpec("IN", "FP32", [3])],
        outputs=[TensorSpec("OUT", "FP32", [3])],
        max_batch_size=4,
        parameters=[SCALE],
    )

    @hookimpl
    def execute(self, instance, requests):
        scale = instance.model.parameters.read(SCALE)
        return [Response({"OUT": scale * request["IN"].numpy()}) for request in requests]


def test_a_signature_is_config_enough():
    with FakeHost(Plugin, {}) as host:
        (outputs,) = host.execute({"IN": np.float32([[1, 2, 3]])})

    assert outputs["OUT"].tolist() == [[2, 4, 6]]


def test_requests_are_held_against_it():
    with (
        FakeHost(Plugin, {}) as host,
        pytest.raises(InvalidArgError, match=r"unexpected shape for input 'IN' .* Expected \[-1,3\]"),
    ):
        host.execute({"IN": np.float32([[1, 2]])})


def test_a_config_that_contradicts_it_is_refused():
    with pytest.raises(InvalidArgError, match="has max_batch_size 8, the plugin declares 4"):
        FakeHost(Plugin, {"max_batch_size": 8})


def test_the_hook_completes_too():
    module = types.ModuleType("hooked")
    module.__file__ = "hooked.py"
    source = """
from triton_backend_sdk import *
@hookimpl
def auto_complete_config(config):
    config.add_input(TensorSpec("IN", "INT32", [1]))
    config.add_output(TensorSpec("OUT", "INT32", [1]))
@hookimpl
def execute(requests):
    return [Response({"OUT": request["IN"]}) for request in requests]
"""
    exec(source, module.__dict__)

    with FakeHost(module, {}) as host:
        (outputs,) = host.execute({"IN": np.int32([7])})

    assert outputs["OUT"].tolist() == [7]
