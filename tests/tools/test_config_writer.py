"""The writer against the real schema, and against the SDK's own reader."""

import pytest
from google.protobuf import json_format, text_format
from tritonclient.grpc import model_config_pb2

from triton_backend_sdk import (
    DynamicBatching,
    InstanceGroup,
    ModelConfig,
    Parameter,
    QueuePolicy,
    SequenceBatching,
    SequenceControl,
    SequenceState,
    Signature,
    TensorSpec,
)
from triton_backend_sdk.tools.config_text import parse_config
from triton_backend_sdk.tools.config_writer import write_config

IN = TensorSpec("IN", "FP32", [-1], optional=True, ragged=True)
OUT = TensorSpec("OUT", "BYTES", [1], reshape=[], label_filename="labels.txt")
BATCHED = Signature(
    inputs=[IN, TensorSpec("ID", "INT64", [1])],
    outputs=[OUT],
    max_batch_size=8,
    dynamic_batching=DynamicBatching(
        preferred_batch_size=[4, 8],
        max_queue_delay_microseconds=100,
        preserve_ordering=True,
        priority_levels=2,
        default_priority_level=1,
        default_queue_policy=QueuePolicy("DELAY", 1000, allow_timeout_override=True, max_queue_size=9),
    ),
    parameters=[Parameter("scale", float, 2.0, "the factor"), Parameter("loud", bool, False)],
    instance_groups=[
        InstanceGroup("gpu", 2, gpus=[0, 1], name="fast", profile=["0"], host_policy="near"),
        InstanceGroup("cpu", passive=True),
    ],
    response_cache=True,
    fields={
        "version_policy": {"latest": {"num_versions": 2}},
        "model_warmup": [{"name": "one", "inputs": {}}],
    },
)
SEQUENCES = Signature(
    inputs=[IN],
    outputs=[OUT],
    max_batch_size=2,
    decoupled=True,
    sequence_batching=SequenceBatching(
        strategy="oldest",
        max_sequence_idle_microseconds=5_000_000,
        max_candidate_sequences=4,
        iterative_sequence=True,
        controls=[
            SequenceControl("START", "START", "BOOL"),
            SequenceControl("END", "END", "FP32"),
            SequenceControl("READY", "READY"),
            SequenceControl("ID", "CORRID", "UINT64"),
        ],
        states=[SequenceState("IN_SUM", "OUT_SUM", "FP32", [-1])],
    ),
)


def whole(signature):
    config = ModelConfig({"name": "m", "backend": "b"})
    for parameter in signature.parameters:
        config.set_parameter(parameter.name, parameter.text())
    signature.complete_file(config)
    return config.as_dict()


def read_by_triton(text):
    return text_format.Parse(text, model_config_pb2.ModelConfig())


@pytest.mark.parametrize("signature", [BATCHED, SEQUENCES], ids=["batched", "sequences"])
def test_what_is_written_is_what_was_meant(signature):
    config = whole(signature)

    text = write_config(config)

    assert read_by_triton(text) == json_format.ParseDict(config, model_config_pb2.ModelConfig())
    assert json_format.ParseDict(parse_config(text), model_config_pb2.ModelConfig()) == read_by_triton(text)


@pytest.mark.parametrize("value", ['quo"te', "back\\slash", "two\nlines", "tab\tbell\a", "grün €", ""])
def test_any_string_survives(value):
    text = write_config({"parameters": {"p": {"string_value": value}}})

    assert read_by_triton(text).parameters["p"].string_value == value
    assert parse_config(text)["parameters"]["p"]["string_value"] == value


def test_the_layout(golden):
    config = whole(BATCHED)

    golden(
        "config.pbtxt", write_config(config, header="Two lines\nof comment.", notes={"scale": "the factor"})
    )


def test_a_config_that_says_nothing():
    assert write_config(ModelConfig({"backend": "b"}).as_dict()) == 'backend: "b"\n'
