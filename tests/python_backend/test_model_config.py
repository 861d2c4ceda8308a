"""``pb_utils.ModelConfig``: its rules and errors are the stock backend's, and what it sets arrives in Triton."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest

from tests.python_backend.stock import stock_utils
from tests.python_backend.test_datatypes import outcome
from triton_backend_sdk import InternalError, TritonError
from triton_backend_sdk import ModelConfig as SDKModelConfig
from triton_backend_sdk.python_backend.pb_model_config import ModelConfig, auto_complete


@pytest.fixture(scope="module")
def stock():
    return stock_utils()


EMPTY = {"name": "m", "max_batch_size": 0, "input": [], "output": []}
FULL = {
    "name": "m",
    "max_batch_size": 4,
    "input": [
        {"name": "A", "data_type": "TYPE_FP32", "dims": [-1, 2], "optional": False},
        {"name": "B", "data_type": "TYPE_INVALID", "dims": [], "reshape": {"shape": []}},
    ],
    "output": [{"name": "A", "data_type": "TYPE_FP32", "dims": [2]}, {"name": "B", "data_type": "TYPE_INVALID", "dims": []}],
}  # fmt: skip
CONFIGS = {
    "empty": EMPTY,
    "full": FULL,
    "sequence": {**EMPTY, "sequence_batching": {}},
    "ensemble": {**EMPTY, "ensemble_scheduling": {}},
    "dynamic": {**EMPTY, "dynamic_batching": {"max_queue_delay_microseconds": 5}},
    "decoupled": {**EMPTY, "model_transaction_policy": {"decoupled": True}},
    "undecided": {**EMPTY, "model_transaction_policy": {}},
    "no inputs": {"name": "m"},
}
A = {"name": "A", "data_type": "TYPE_FP32", "dims": [-1, 2]}
TENSORS = [
    A,
    {**A, "name": "B"},
    {**A, "name": "C", "data_type": "TYPE_STRING"},
    {**A, "data_type": "TYPE_INT8"},
    {**A, "dims": [2]},
    {**A, "dims": []},
    {**A, "dims": (-1, 2)},
    {**A, "optional": True},
    {**A, "optional": False},
    {**A, "name": "B", "optional": True},
    {**A, "reshape": {}},
    {"reshape": {}},
    {},
    {"name": "A"},
    {"name": "A", "data_type": "TYPE_FP32"},
    {"name": "A", "dims": [1]},
    {"data_type": "TYPE_FP32", "dims": [1]},
    {"name": "", "data_type": "", "dims": [1]},
]
CALLS = [
    *[(f"add_{kind}", tensor) for kind in ("input", "output") for tensor in TENSORS],
    *[("set_max_batch_size", size) for size in (-1, 0, 3, 4, 5, 4.0)],
    *[("set_model_transaction_policy", policy) for policy in ({}, {"decoupled": True}, {"decoupled": False}, {"coupled": 1}, {"decoupled": True, "x": 1})],
    ("set_dynamic_batching", None),
]  # fmt: skip


def use(module_config, config, calls):
    """Give the errors of calls and the config after them."""
    made = module_config(json.dumps(config))
    said = []
    for name, argument in calls:
        given = [] if argument is None else [copy.deepcopy(argument)]
        try:
            said.append(getattr(made, name)(*given))
        except Exception as error:
            said.append((type(error), str(error)))
    return said, made.as_dict(), made._model_config


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("call", CALLS, ids=str)
def test_a_call_does_and_says_what_the_stock_backends_does(stock, config, call):
    # Twice: the second call meets what the first has made.
    assert use(ModelConfig, CONFIGS[config], [call, call]) == use(
        stock.ModelConfig, CONFIGS[config], [call, call]
    )


def test_all_calls_together(stock):
    for first in range(len(CALLS)):
        calls = CALLS[first:] + CALLS[:first]
        assert use(ModelConfig, FULL, calls) == use(stock.ModelConfig, FULL, calls)


def test_names_of_the_arguments():
    config = ModelConfig(model_config=json.dumps(EMPTY))
    config.set_max_batch_size(max_batch_size=2)
    config.add_input(input=dict(A))
    config.add_output(output=dict(A))
    config.set_model_transaction_policy(transaction_policy_dict={"decoupled": True})
    assert config.as_dict()["model_transaction_policy"] == {"decoupled": True}


@pytest.mark.parametrize("text", ["", "{", None, 5])
def test_no_json(stock, text):
    assert outcome(ModelConfig, (text,)) is outcome(stock.ModelConfig, (text,))


class Model:
    """Completes by what a test puts here."""

    def __init__(self, act):
        self.auto_complete_config = act


def deleting(config):
    config.as_dict().pop("input")
    del config.as_dict()["max_batch_size"]
    return config


def writing(config):
    config.as_dict()["input"][0]["dims"] = [7]
    config.as_dict()["backend"] = "other"
    return config


def test_what_a_model_changes_is_transferred_and_nothing_else():
    config = SDKModelConfig(FULL)
    auto_complete(Model(lambda config: config), "m", config)
    auto_complete(object(), "m", config)
    assert config.as_dict() == FULL
    auto_complete(Model(writing), "m", config)
    assert config.as_dict()["input"][0]["dims"] == [7]
    assert config.as_dict()["backend"] == "other"
    assert config.as_dict()["output"] == FULL["output"]
    auto_complete(Model(deleting), "m", config)
    assert (config.as_dict()["input"], config.max_batch_size) == ([], 0)


@pytest.mark.parametrize("result", [None, {}, SDKModelConfig(EMPTY)])
def test_a_model_must_give_the_config_back(result):
    with pytest.raises(InternalError) as raised:
        auto_complete(Model(lambda config: result), "m", SDKModelConfig(EMPTY))
    message = "auto_complete_config function in model 'm' must return a valid pb.ModelConfig object."
    assert str(raised.value) == message


PLUGIN = """
from triton_backend_sdk.python_backend.pb_model_config import auto_complete

class TritonPythonModel:
    @staticmethod
    def auto_complete_config(config):
{act}
        return config

@hookimpl
def auto_complete_config(model, config):
    auto_complete(TritonPythonModel, model.name, config)

@hookimpl
def execute(requests):
    return [Response({{"OUT": 2 * request["IN"].numpy()}}) for request in requests]
"""
IN = '{"name": "IN", "data_type": "TYPE_FP32", "dims": [4]}'
OUT = IN.replace("IN", "OUT")
BOTH = f"config.add_input({IN}); config.add_output({OUT})"


@pytest.fixture
def completed(serve):
    """Load a model without inputs and outputs in its config.pbtxt, unless a test gives some; give its config."""

    def make(*acts, **options):
        source = PLUGIN.format(act="\n".join(f"        {act}" for act in acts))
        served = serve(source, **{"inputs": {}, "outputs": {}, **options})
        return served, served.core.model_config(served.name)

    return make


def test_a_model_that_does_not_batch(completed):
    served, config = completed(BOTH)
    assert (config["input"][0]["dims"], config["max_batch_size"]) == ([4], 0)
    np.testing.assert_array_equal(served.infer({"IN": np.ones(4, np.float32)})["OUT"], [2] * 4)


def test_a_model_that_batches_with_an_optional_input(completed):
    optional = '{"name": "MAYBE", "data_type": "TYPE_STRING", "dims": [1], "optional": True}'
    served, config = completed(
        BOTH, f"config.add_input({optional})", "config.set_max_batch_size(3)", "config.set_dynamic_batching()"
    )
    assert [(entry["name"], entry["optional"]) for entry in config["input"]] == [
        ("IN", False),
        ("MAYBE", True),
    ]
    assert (config["max_batch_size"], "dynamic_batching" in config) == (3, True)
    assert served.infer({"IN": np.ones((2, 4), np.float32)})["OUT"].shape == (2, 4)


def test_a_model_that_decouples(completed):
    served, config = completed(BOTH, 'config.set_model_transaction_policy({"decoupled": True})')
    assert config["model_transaction_policy"] == {"decoupled": True}
    assert "does not take over" not in served.log


def test_what_config_pbtxt_says_may_be_completed(completed):
    written = {"IN": ("FP32", "[4]", "optional: true"), "OUT": ("FP32", "[4]")}
    _, config = completed(BOTH, inputs={"IN": written["IN"]}, outputs={"OUT": written["OUT"]}, batch=2)
    assert config["input"][0]["optional"] is True
    assert config["max_batch_size"] == 2


@pytest.mark.parametrize(
    ("act", "options", "message"),
    [
        (BOTH, {"inputs": {"IN": ("INT8", "[4]")}}, "unable to load model 'NAME', configuration expects datatype TYPE_INT8 for input 'IN', model provides TYPE_FP32"),
        (BOTH, {"outputs": {"OUT": ("FP32", "[5]")}}, "model 'NAME', tensor 'OUT': the model expects dims [4] but the model configuration specifies dims [5]"),
        ("config.set_max_batch_size(1)", {"batch": 2}, "configuration specified max_batch_size 2, but in auto-complete-config function for model 'NAME' specified max_batch_size 1"),
        ("config.set_dynamic_batching()", {"batch": 2, "extra": "sequence_batching { }"}, "Configuration specified scheduling_choice as 'sequence_batching', but auto-complete-config function for model 'NAME' tries to set scheduling_choice as 'dynamic_batching'"),
        ("config.set_model_transaction_policy({'decoupled': False})", {"extra": "model_transaction_policy { decoupled: true }"}, "trying to change decoupled property in auto-complete-config for model 'NAME', which is already set to 'True'."),
        ("return 5", {}, "auto_complete_config function in model 'NAME' must return a valid pb.ModelConfig object."),
        ("config.as_dict()['x'] = config", {}, "is not JSON serializable"),
    ],
)  # fmt: skip
def test_a_contradiction_makes_the_model_unavailable(completed, act, options, message):
    name = "contradicts"
    with pytest.raises(TritonError) as raised:
        completed(act, name=name, **options)
    assert message.replace("NAME", name) in str(raised.value)


def test_without_auto_complete_nothing_is_asked(completed):
    written = {"inputs": {"IN": ("FP32", "[4]")}, "outputs": {"OUT": ("FP32", "[4]")}}
    completed("raise ValueError", core_options={"auto_complete": False}, **written)
