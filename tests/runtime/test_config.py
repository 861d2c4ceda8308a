"""A model's config meets its plugin in the real core: completed, held against the Signature, or refused."""

import re

import numpy as np
import pytest

from triton_backend_sdk import InvalidArgError, TritonError
from triton_backend_sdk.tools.configs import config_text

DOUBLE = """
SIGNATURE = Signature(
    inputs=[TensorSpec("IN", "FP32", [-1])], outputs=[TensorSpec("OUT", np.float32, [-1])], max_batch_size=8,
    dynamic_batching=DynamicBatching(max_queue_delay_microseconds=100),
)

@hookimpl
def execute(requests):
    return [Response({"OUT": 2 * request["IN"].numpy()}) for request in requests]
"""
X = np.float32([[1, 2, 3]])


def configure(served, text):
    """Replace the model's config.pbtxt by one that says this, and load it."""
    path = served.repository / served.name / "config.pbtxt"
    path.write_text(f'backend: "{served.name}"\ninstance_group {{ kind: KIND_CPU }}\n{text}')
    served.core.load(served.name)
    return served.core.model_config(served.name)


@pytest.fixture
def declare(serve):
    def make(source, text=""):
        served = serve(source, load=False)
        return served, configure(served, text)

    return make


def refusal(serve, source, text, error=InvalidArgError):
    served = serve(source, load=False)
    with pytest.raises(error) as caught:
        configure(served, text)
    return str(caught.value)


def test_a_signature_completes_an_empty_config(declare):
    served, config = declare(DOUBLE)

    assert served.infer({"IN": X})["OUT"].tolist() == [[2, 4, 6]]
    assert config["max_batch_size"] == 8
    assert config["input"][0] | {"name": "IN", "data_type": "TYPE_FP32", "dims": [-1]} == config["input"][0]
    assert config["dynamic_batching"]["max_queue_delay_microseconds"] == 100


def test_later_hooks_see_the_completed_config(declare):
    served, config = declare(
        DOUBLE
        + "@hookimpl\ndef model_initialize(model):\n    global seen\n    seen = model.config, model.inputs"
    )

    seen, inputs = served.module.seen
    assert seen["input"] == config["input"]
    assert [spec.name for spec in inputs] == ["IN"]


def test_what_config_pbtxt_says_stands(declare):
    text = 'max_batch_size: 4 input { name: "IN" data_type: TYPE_FP32 dims: [ 3 ] } dynamic_batching { }'
    _, config = declare(DOUBLE, text)

    assert config["max_batch_size"] == 4
    assert config["input"][0]["dims"] == [3]
    assert config["dynamic_batching"]["max_queue_delay_microseconds"] == 0
    assert config["output"][0]["name"] == "OUT"


def test_a_partial_entry_is_completed(declare):
    _, config = declare(DOUBLE, 'input { name: "IN" } output { name: "OUT" data_type: TYPE_FP32 }')

    assert (config["input"][0]["data_type"], config["input"][0]["dims"]) == ("TYPE_FP32", [-1])
    assert config["output"][0]["dims"] == [-1]


def test_a_signature_of_a_class(declare):
    source = DOUBLE.replace("\n", "\n    ").replace("(requests)", "(self, requests)")
    served, _ = declare("class Plugin:" + source)

    assert served.infer({"IN": X})["OUT"].tolist() == [[2, 4, 6]]


def test_a_signature_that_a_class_inherits_or_overrides(declare):
    source = (
        "class Base:\n    signature = Signature(inputs=[], outputs=[])\nclass Plugin(Base):"
        + DOUBLE.replace("\n", "\n    ")
        .replace("(requests)", "(self, requests)")
        .replace("SIGNATURE", "signature")
    )
    _, config = declare(source)

    assert config["max_batch_size"] == 8


def test_a_hook_of_a_class_is_static(declare, serve):
    source = """
class Plugin:
    @staticmethod
    @hookimpl
    def auto_complete_config(config):
        config.add_output(TensorSpec("OUT", "FP32", [-1]))

    @hookimpl
    def execute(self, requests):
        return []
"""
    _, config = declare(source, 'input { name: "IN" data_type: TYPE_FP32 dims: [ -1 ] }')
    assert config["output"][0]["name"] == "OUT"

    message = refusal(
        serve, source.replace("    @staticmethod\n", "").replace("(config)", "(self, config)"), ""
    )
    assert "auto_complete_config concerns no single instance; make it a staticmethod" in message


def test_optional_ragged_and_reshaped_tensors(declare):
    served, config = declare(
        """
SIGNATURE = Signature(
    inputs=[
        TensorSpec("IN", "FP32", [1], reshape=[]),
        TensorSpec("MORE", "INT64", [-1], optional=True, ragged=True),
    ],
    outputs=[TensorSpec("OUT", "FP32", [1], reshape=[])],
    max_batch_size=4,
)

@hookimpl
def execute(requests):
    shapes.extend(request["IN"].shape for request in requests)
    return [Response({"OUT": request["IN"].numpy() + ("MORE" in request)}) for request in requests]

shapes = []
"""
    )

    assert served.infer({"IN": X[:, :1]})["OUT"].tolist() == [[1]]
    assert served.infer({"IN": X[:, :1], "MORE": np.int64([[1, 2]])})["OUT"].tolist() == [[2]]
    assert served.module.shapes == [(1,), (1,)]
    assert config["input"][1]["allow_ragged_batch"] is True


@pytest.mark.parametrize(
    ("more", "text", "missing"),
    [
        ('instance_groups=[InstanceGroup("cpu", 2)]', "", "instance_groups"),
        ('instance_groups=[InstanceGroup("auto")]', "", None),
        ("response_cache=True", "", "response_cache"),
        ("response_cache=True", "response_cache { enable: true }", None),
        ('fields={"version_policy": {"all": {}}, "metric_tags": {"a": "b"}}', "", "metric_tags"),
    ],
)
def test_what_only_the_file_can_say_and_does_not(declare, more, text, missing):
    served, _ = declare(DOUBLE.replace("max_batch_size=8,", f"max_batch_size=8, {more},"), text)

    said = "config.pbtxt is not what the Signature says of"
    assert (f"{said} {missing}, which" in served.log) if missing else (said not in served.log)


SEQUENCES = """
SIGNATURE = Signature(
    inputs=[TensorSpec("IN", "FP32", [1])], outputs=[TensorSpec("OUT", "FP32", [1])], max_batch_size=2,
    sequence_batching=SequenceBatching(
        strategy="oldest", max_candidate_sequences=4,
        controls=[SequenceControl("START", "START"), SequenceControl("ID", "CORRID", "UINT64")],
        states=[SequenceState("SUM", "SUM", "FP32", [1])],
    ),
    decoupled=True,
)

@hookimpl
def execute(requests):
    raise NotImplementedError
"""


def test_sequences_and_decoupled_are_completed(declare):
    _, config = declare(SEQUENCES)

    batching = config["sequence_batching"]
    assert batching["oldest"]["max_candidate_sequences"] == 4
    assert [control["name"] for control in batching["control_input"]] == ["START", "ID"]
    assert batching["control_input"][0]["control"][0]["int32_false_true"] == [0, 1]
    assert batching["state"][0]["initial_state"][0]["zero_data"] is True
    assert config["model_transaction_policy"]["decoupled"] is True


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            'input { name: "IN" data_type: TYPE_INT32 dims: [ -1 ] }',
            r"config.pbtxt says that input 'IN' is INT32 \[-1\], the plugin declares FP32 \[-1\]",
        ),
        (
            'input { name: "IN" data_type: TYPE_FP32 dims: [ -1, 3 ] }',
            r"input 'IN' is FP32 \[-1, 3\], the plugin declares FP32 \[-1\]",
        ),
        ('input { name: "IN" optional: true }', "is FP32 .*optional, the plugin declares FP32"),
        ('input { name: "IN" allow_ragged_batch: true }', "ragged, the plugin declares"),
        (
            'input { name: "EXTRA" data_type: TYPE_FP32 dims: [ 1 ] }',
            "has input 'EXTRA', the plugin declares IN",
        ),
        ("max_batch_size: 16", "has max_batch_size 16, the plugin declares 8"),
        ("model_transaction_policy { decoupled: true }", "has decoupled True, the plugin declares False"),
    ],
)
def test_a_config_that_contradicts_is_refused(serve, text, said):
    message = refusal(serve, DOUBLE, text)

    assert re.search(said, message), message


def test_a_wider_config_than_the_signature_is_refused(serve):
    source = DOUBLE.replace('"FP32", [-1]', '"FP32", [3]')

    message = refusal(serve, source, 'input { name: "IN" data_type: TYPE_FP32 dims: [ -1 ] }')

    assert "input 'IN' is FP32 [-1], the plugin declares FP32 [3]" in message


def test_dynamic_batching_cannot_stand_in_for_sequences(serve):
    message = refusal(serve, SEQUENCES, "dynamic_batching { }")

    assert "config.pbtxt has dynamic_batching, the plugin declares sequence_batching" in message


STRICT = {"auto_complete": False}
WRITTEN = """max_batch_size: 8
input { name: "IN" data_type: TYPE_FP32 dims: [ -1 ] } output { name: "OUT" data_type: TYPE_FP32 dims: [ -1 ] }"""


def test_a_server_that_completes_nothing_gets_a_check(serve):
    served = serve(DOUBLE, load=False, core_options=STRICT)

    configure(served, WRITTEN)
    with pytest.raises(InvalidArgError, match="has max_batch_size 0, the plugin declares 8; `tbsdk config"):
        configure(served, WRITTEN.replace("max_batch_size: 8", ""))
    with pytest.raises(
        InvalidArgError, match=r"lacks output 'OUT', which the plugin declares as FP32 \[-1\]"
    ):
        configure(served, WRITTEN.replace("OUT", "RESULT"))


ALL = """
SIGNATURE = Signature(
    inputs=[TensorSpec("IN", "FP32", [1], reshape=[]), TensorSpec("TEXT", "BYTES", [-1], optional=True, ragged=True)],
    outputs=[TensorSpec("OUT", "BF16", [-1, 2])],
    max_batch_size=8,
    dynamic_batching=DynamicBatching(
        preferred_batch_size=[4, 8], max_queue_delay_microseconds=100, priority_levels=2,
        default_priority_level=1,
        default_queue_policy=QueuePolicy("DELAY", 1000, allow_timeout_override=True, max_queue_size=9),
    ),
    parameters=[Parameter("text", str, "a \\"quoted\\" \\\\ word")],
    instance_groups=[InstanceGroup("cpu", 2, name="workers"), InstanceGroup("cpu", passive=True)],
    fields={"version_policy": {"all": {}}, "metric_tags": {"team": "a"}},
)

@hookimpl
def execute(requests):
    return []
"""


@pytest.mark.parametrize("source", [DOUBLE, SEQUENCES, ALL], ids=["double", "sequences", "all"])
def test_what_tbsdk_config_writes_is_a_whole_config(serve, source):
    served = serve(source, load=False, core_options=STRICT)
    file = served.repository / served.name / "config.pbtxt"
    file.write_text(config_text(served.project, served.name, file, {}))

    served.core.load(served.name)

    if source is ALL:
        config = served.core.model_config(served.name)
        assert config["parameters"]["text"]["string_value"] == 'a "quoted" \\ word'
        assert [group["name"] for group in config["instance_group"]] == ["workers", f"{served.name}_1"]
        assert config["dynamic_batching"]["default_queue_policy"]["timeout_action"] == "DELAY"


def test_no_hook_completes_where_the_server_does_not(serve):
    served = serve(
        "@hookimpl\ndef auto_complete_config(config):\n    raise AssertionError\n"
        "@hookimpl\ndef execute(requests):\n    return [Response({'OUT': request['IN']}) for request in requests]",
        core_options=STRICT,
    )

    assert served.infer({"IN": X[0]})["OUT"].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({}, r"missing required input\(s\) \['IN'\]|expected 1 inputs but got 0"),
        ({"IN": np.int32([[1]])}, "inference input 'IN' data-type is 'INT32', but model '.*' expects 'FP32'"),
        ({"IN": np.float32([1])}, r"unexpected shape for input 'IN' .* Expected \[-1,3\], got \[1\]"),
        ({"IN": np.float32([[1]])}, r"unexpected shape for input 'IN' .* Expected \[-1,3\], got \[1,1\]"),
        ({"IN": X, "IM": X}, "unexpected inference input 'IM'|expected 1 inputs but got 2"),
        ({"IN": np.zeros((9, 3), np.float32)}, "inference request batch-size must be <= 8"),
    ],
)
def test_requests_that_do_not_fit_the_signature_never_reach_the_plugin(declare, inputs, said):
    served, _ = declare(DOUBLE.replace('"FP32", [-1]', '"FP32", [3]') + "    raise AssertionError")

    with pytest.raises(InvalidArgError, match=said):
        served.infer(inputs)


HOOK = """
@hookimpl
def auto_complete_config(model, config):
    config.add_input(TensorSpec("IN", "FP32", [-1]))
    config.add_output(TensorSpec("OUT", "FP32", [-1]))
    config.set_max_batch_size(4)
    EXTRA

@hookimpl
def execute(requests):
    return [Response({"OUT": 2 * request["IN"].numpy()}) for request in requests]
"""


def hook(extra="config.set_dynamic_batching()"):
    return HOOK.replace("EXTRA", extra)


def test_hook_auto_complete_config(declare):
    served, config = declare(hook())

    assert served.infer({"IN": X})["OUT"].tolist() == [[2, 4, 6]]
    assert config["max_batch_size"] == 4
    assert "dynamic_batching" in config


def test_the_hook_sees_what_config_pbtxt_says(declare):
    declare(
        hook("assert config.name == model.name; assert 'dynamic_batching' == config.scheduling"),
        "dynamic_batching { }",
    )


def test_the_hook_goes_before_the_signature_and_knows_the_parameters(declare):
    _, config = declare(
        PARAMETERS
        + """
@hookimpl
def auto_complete_config(model, config):
    config.add_input(TensorSpec("IN", "FP32", [int(2 * model.parameters.read(SCALE))]))
""",
        parameters(label="x"),
    )

    assert config["input"][0]["dims"] == [3]


def test_the_hook_adds_to_the_signature(declare):
    _, config = declare(
        DOUBLE + "@hookimpl\ndef auto_complete_config(config):\n    config.set_max_batch_size(2)"
    )

    assert config["max_batch_size"] == 2


@pytest.mark.parametrize(
    ("call", "field"),
    [
        ('config.add_instance_group(InstanceGroup("cpu", 3))', "instance_group"),
        ('config.set_parameter("scale", "2")', "parameters"),
        ('config.set_field("version_policy", {"all": {}})', "version_policy"),
        ("config.set_field('response_cache', {'enable': True})", "response_cache"),
    ],
)
def test_what_triton_will_not_take_over_is_said_and_true(declare, call, field):
    before = declare(hook("pass"))[1]

    served, config = declare(hook(call))

    assert f"auto_complete_config sets {field}, which Triton does not take over" in served.log
    assert ours(config) == ours(before)


def ours(config):
    """Leave out what names the plugin."""
    groups = [{**group, "name": ""} for group in config["instance_group"]]
    return {**config, "instance_group": groups, "name": "", "backend": ""}


def test_scheduling_of_config_pbtxt_stays_and_that_is_said(declare):
    served, config = declare(
        hook("config.set_dynamic_batching(DynamicBatching(max_queue_delay_microseconds=7))"),
        "dynamic_batching { }",
    )

    assert "auto_complete_config sets dynamic_batching, which Triton does not take over" in served.log
    assert config["dynamic_batching"]["max_queue_delay_microseconds"] == 0


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("config.set_max_batch_size(-1)", "cannot be -1"),
        (
            "config.set_sequence_batching(SequenceBatching())",
            "has dynamic_batching .* cannot get sequence_batching",
        ),
        ('config.add_input(TensorSpec("IN", "INT8", [1]))', "input 'IN' is FP32 .* declares INT8"),
        ('config.add_input(TensorSpec("X", "FP33", [1]))', "'FP33' is no Triton datatype"),
        ("raise NotFoundError('no weights')", "no weights"),
        ("config.set_field('input', 'nonsense')", "nonsense|JSON|input"),
    ],
)
def test_a_hook_that_fails_makes_the_model_unavailable(serve, call, said):
    message = refusal(serve, hook(call), "dynamic_batching { }", error=TritonError)

    assert re.search(said, message), message


def test_what_is_not_set_brings_no_warning(declare):
    served, _ = declare(hook())

    assert "take over" not in served.log


PARAMETERS = """
SCALE = Parameter("scale", float, 1.5, "what IN is multiplied by")
SIGNATURE = Signature(
    inputs=[TensorSpec("IN", "FP32", [-1])], outputs=[TensorSpec("OUT", "FP32", [-1])],
    parameters=[SCALE, Parameter("label", str), Parameter("loud", bool, False)],
)

@hookimpl
def model_initialize(model):
    global seen
    seen = model.parameters.read(SCALE), dict(model.parameters), model.parameters.get_bool("loud")

@hookimpl
def execute(requests):
    return []
"""


def parameters(**values):
    entries = (f'{{ key: "{k}" value {{ string_value: "{v}" }} }}' for k, v in values.items())
    return "".join(f"parameters {entry}" for entry in entries)


def test_declared_parameters_have_defaults_and_types(declare):
    served, _ = declare(PARAMETERS, parameters(label="x"))

    assert served.module.seen == (1.5, {"scale": "1.5", "label": "x", "loud": "false"}, False)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"label": "x", "scale": "big"}, "parameter 'scale' of model '.*' is 'big'; it must be a number"),
        ({}, "needs the parameter 'label' in its config.pbtxt"),
    ],
)
def test_a_wrong_parameter_makes_the_model_unavailable(serve, values, said):
    message = refusal(serve, PARAMETERS, parameters(**values), error=TritonError)

    assert re.search(said, message), message


def test_a_misspelt_parameter_is_said(declare):
    served, _ = declare(PARAMETERS, parameters(label="x", scal="2"))

    assert "parameter 'scal' that its plugin does not declare; did you mean 'scale'?" in served.log


def test_a_misspelt_parameter_of_the_sdks_is_said_without_a_signature_too(serve):
    served = serve(
        "@hookimpl\ndef execute(requests):\n    return [Response({'OUT': r['IN']}) for r in requests]",
        parameters={"execute_watchdog_secs": "30", "drained": "x", "scale": "2"},
    )

    assert (
        "parameter 'execute_watchdog_secs' that the SDK does not know; did you mean 'execute_w" in served.log
    )
    assert served.log.count("did you mean") == 1


def test_two_signatures_are_one_too_many(serve):
    message = refusal(serve, DOUBLE + "OTHER = Signature(inputs=[], outputs=[])", "")

    assert "has several Signatures (SIGNATURE, OTHER); keep one" in message


def test_a_model_without_any_config(serve):
    served = serve(DOUBLE, load=False)
    name = f"model.{served.name}"
    (served.repository / name / "1").mkdir(parents=True)

    served.core.load(name)

    assert served.core.infer(name, {"IN": X}, timeout=20)["OUT"].tolist() == [[2, 4, 6]]
