"""A Signature that contradicts itself never comes into being; nor do its parts."""

import numpy as np
import pytest

from triton_backend_sdk import (
    DataType,
    DynamicBatching,
    InstanceGroup,
    InvalidArgError,
    ModelConfig,
    Parameter,
    SequenceBatching,
    SequenceControl,
    Signature,
    TensorSpec,
)

IN, OUT = TensorSpec("IN", "FP32", [-1]), TensorSpec("OUT", "FP32", [-1])


@pytest.mark.parametrize("dtype", ["FP32", "TYPE_FP32", "float32", np.float32, np.dtype("f4"), DataType.FP32])
def test_a_datatype_by_any_name(dtype):
    assert TensorSpec("IN", dtype, (-1,)) == IN


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"inputs": [IN, TensorSpec("IN", "INT8", [1])]}, "the Signature has input IN twice"),
        ({"outputs": [OUT, OUT]}, "output OUT twice"),
        ({"parameters": [Parameter("p", int), Parameter("p", str)]}, "parameter p twice"),
        (
            {"inputs": [TensorSpec("IN", "FP32", [])]},
            r"'IN' has no dims; .* take dims=\[1\], with reshape=\[\]",
        ),
        ({"inputs": [TensorSpec("IN", "FP32", [0])]}, "'IN' has a dimension of 0; take 1 or more, or -1"),
        ({"outputs": [TensorSpec("OUT", "FP32", [-2])]}, "'OUT' has a dimension of -2"),
        ({"inputs": ["IN"]}, "inputs of a Signature are TensorSpecs; 'IN' is none"),
        ({"parameters": [IN]}, "parameters of a Signature are Parameters; TensorSpec"),
        ({"max_batch_size": -1}, "max_batch_size -1; 0 means no batching"),
        ({"dynamic_batching": DynamicBatching()}, "give it a max_batch_size too"),
        (
            {
                "dynamic_batching": DynamicBatching(),
                "sequence_batching": SequenceBatching(),
                "max_batch_size": 1,
            },
            "dynamic_batching and sequence_batching; keep one",
        ),
    ],
)
def test_a_contradiction(fields, said):
    with pytest.raises(InvalidArgError, match=said):
        Signature(**{"inputs": [IN], "outputs": [OUT], **fields})


@pytest.mark.parametrize(
    ("kind", "default"), [(int, 1.5), (int, True), (str, 3), (bool, 1), (float, "1"), (list, None)]
)
def test_a_parameter_of_another_type(kind, default):
    with pytest.raises(InvalidArgError, match="parameter 'p' is of"):
        Parameter("p", kind, default)


@pytest.mark.parametrize(
    ("kind", "default", "text"),
    [(float, 2, "2.0"), (bool, True, "true"), (int, 7, "7"), (str, "", ""), (str, None, "")],
)
def test_a_default_as_a_config_has_it(kind, default, text):
    assert Parameter("p", kind, default).text() == text


def test_an_instance_group_of_no_kind():
    with pytest.raises(InvalidArgError, match="no kind of instance 'tpu'; there are auto, cpu, gpu, model"):
        InstanceGroup("tpu").as_dict()


def test_a_control_of_the_wrong_type():
    with pytest.raises(InvalidArgError, match="sequence control 'START' is INT8; take INT32, FP32 or BOOL"):
        SequenceControl("START", "START", "INT8").as_dict()


def test_a_config_is_a_copy():
    original = {"input": [{"name": "IN"}]}
    config = ModelConfig(original)

    config.add_input(TensorSpec("IN", "INT8", [1]))
    config.as_dict()["input"].clear()

    assert original == {"input": [{"name": "IN"}]}
    assert config.as_dict()["input"] == [{"name": "IN", "data_type": "TYPE_INT8", "dims": [1]}]
