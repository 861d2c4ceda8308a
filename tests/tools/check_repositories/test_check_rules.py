"""Every rule on one broken directory and on its sound counterpart; the real server judges most of them nearby."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.tools.check_repositories.alone import ALONE
from tests.tools.check_repositories.cases import (
    BACKEND,
    IO,
    MODEL_PY,
    STATES,
    TOGETHER,
    Case,
    broken,
    ensemble,
    sound,
    step,
    write_model,
)
from triton_backend_sdk.tools.check import rules_files
from triton_backend_sdk.tools.check.engine import check, rules
from triton_backend_sdk.tools.check.repository import LARGEST_CONFIG
from triton_backend_sdk.tools.installation import ServerInstallation
from triton_backend_sdk.tools.server_options.options import ServerOptions

#: What only Triton's images have, so that no server is here to judge.
IMAGES = [
    sound("graphdef", None, {"1/model.graphdef": ""}, warnings=("C40",)),
    sound("savedmodel", None, {"1/model.savedmodel/saved_model.pb": ""}, warnings=("C40",)),
    broken("savedmodel_as_file", "C13", 'platform: "tensorflow_savedmodel"', {"1/model.savedmodel": ""}, warnings=("C40",)),
    sound("torchscript", None, {"1/model.pt": ""}),
    broken("torchscript_gone", "C13", 'backend: "pytorch"', {"1/other.pt": ""}),
    broken("torchscript_as_folder", "C13", 'platform: "pytorch_libtorch"', {"1/model.pt/": ""}),
    sound("torch_aoti", None, {"1/model.pt2": ""}),
    sound("torchscript_named", 'backend: "pytorch" default_model_filename: "other.pt"', {"1/other.pt": ""}),
    sound("onnx", None, {"1/model.onnx": ""}),
    sound("onnx_folder", None, {"1/model.onnx/model.onnx": "", "1/model.onnx/weights": ""}),
    broken("onnx_gone", "C13", 'platform: "onnxruntime_onnx"'),
    sound("by_capability", 'backend: "tensorrt" cc_model_filenames { key: "8.9" value: "ada.plan" }', {"1/ada.plan": ""}),
    sound("by_capability_gone", 'backend: "tensorrt" cc_model_filenames { key: "8.9" value: "ada.plan" }', {"1/model.plan": ""}, warnings=("C13",)),
    sound("plan", None, {"1/model.plan": ""}),
    broken("plan_of_two", "C13", 'backend: "tensorrt" version_policy { all {} }', {"1/model.plan": "", "2/": ""}),
    sound("openvino", None, {"1/model.xml": "", "1/model.bin": ""}),
    sound("openvino_no_bin", None, {"1/model.xml": ""}, warnings=("C13",)),
    sound("dali", 'backend: "dali"', {"1/model.dali": ""}),
    broken("dali_gone", "C13", 'backend: "dali"'),
    sound("python_of_image", None, {"1/model.py": MODEL_PY}),
    sound("incomplete", 'backend: "onnxruntime" input { name: "IN" }', {"1/model.onnx": ""}, warnings=("C18",)),
    sound("shape_tensor_trt", 'backend: "tensorrt" input { name: "IN" data_type: TYPE_INT32 dims: 2 is_shape_tensor: true }', {"1/model.plan": ""}),
    sound("non_linear_trt", 'backend: "tensorrt" input { name: "IN" data_type: TYPE_FP32 dims: [ 4, 4, 3 ] is_non_linear_format_io: true }', {"1/model.plan": ""}),
    broken("non_linear_dims", "C20", 'backend: "tensorrt" input { name: "IN" data_type: TYPE_FP32 dims: 4 is_non_linear_format_io: true }', {"1/model.plan": ""}),
    sound("profile_trt", 'backend: "tensorrt" instance_group { profile: "1" }', {"1/model.plan": ""}),
    broken("operations_gone", "C34", 'backend: "onnxruntime" model_operations { op_library_filename: "./ops.so" }', {"1/model.onnx": ""}),
    broken("operations_bare", "C34", 'backend: "onnxruntime" model_operations { op_library_filename: "ops.so" }', {"1/model.onnx": "", "ops.so": ""}),
    broken("operations_symbol", "C34", 'backend: "onnxruntime" model_operations { op_library_filename: "{model}/ops.so" }', {"1/model.onnx": "", "ops.so": "\0Another\0"}),
    broken("operations_twice", "C34", 'backend: "onnxruntime" model_operations { op_library_filename: [ "{model}/ops.so", "{model}/ops.so" ] }', {"1/model.onnx": "", "ops.so": "\0RegisterCustomOps\0"}),
    sound("operations", 'backend: "onnxruntime" model_operations { op_library_filename: "{model}/ops.so" }', {"1/model.onnx": "", "ops.so": "\0RegisterCustomOps\0"}),
    sound("operations_of_torch", 'backend: "pytorch" model_operations { op_library_filename: "ops.so" }', {"1/model.pt": ""}, warnings=("C34",)),
    sound("operations_of_ours", IO + 'model_operations { op_library_filename: "ops.so" }', {"1/ops.so": ""}),
    sound("operations_of_the_model", IO + 'model_operations { op_library_filename: "$$TRITON_MODEL_DIRECTORY/ops.so" }', {"1/": "", "ops.so": ""}),
    sound("operations_of_ours_gone", IO + 'model_operations { op_library_filename: "ops.so" }', warnings=("C34",)),
    sound("strategy", IO + 'parameters { key: "TRITON_BATCH_STRATEGY_PATH" value { string_value: "{model}/batch.so" } }', {"1/": "", "batch.so": ""}),
    sound("class_if", 'backend: "python_inprocess"', {"1/model.py": "try:\n    from a import b as TritonPythonModel\nexcept ImportError:\n    pass\n"}),
    sound("class_assigned", 'backend: "python_inprocess"', {"1/model.py": "TritonPythonModel = type('A', (), {})\n"}),
    broken("class_inside", "C36", 'backend: "python_inprocess"', {"1/model.py": "def f():\n    class TritonPythonModel: ...\n"}),
    broken("metric_no_identifier", "C37", IO + "model_metrics { metric_control { } }"),
    broken("metric_no_family", "C37", IO + "model_metrics { metric_control { metric_identifier { } } }"),
    broken("metric_no_options", "C37", IO + 'model_metrics { metric_control { metric_identifier { family: "a" } } }'),
    broken("metric_no_buckets", "C37", IO + 'model_metrics { metric_control { metric_identifier { family: "a" } histogram_options { } } }'),
    sound("metric", IO + 'model_metrics { metric_control { metric_identifier { family: "a" } histogram_options { buckets: 1 } } }'),
    broken("labels_escape", "C22", 'output { name: "OUT" data_type: TYPE_FP32 dims: 4 label_filename: "../labels_escape/labels.txt/../../x" }'),
    broken("strategy_escape", "C33", IO + 'parameters { key: "TRITON_BATCH_STRATEGY_PATH" value { string_value: "{model}/../batch.so" } }'),
    broken("runtime_escape", "C12", IO + 'runtime: "../other/libtriton_other.so"'),
]  # fmt: skip
WITHOUT_SCHEMA = ("metrics_of_later",)


def make_backends(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).mkdir(parents=True)
        (root / name / f"libtriton_{name}.so").touch()
    return root


def server(backends: Path | None, version: str | None = "2.51.0") -> ServerInstallation:
    return ServerInstallation(Path("tritonserver"), None, backends, None, "made up", version)


def told(findings, severity):
    return tuple(sorted({each.rule for each in findings if each.severity == severity}))


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """Give the findings of all cases, by model."""
    root = tmp_path_factory.mktemp("together")
    for case in [*TOGETHER, *STATES[3:]]:
        if not (root / case.name).exists():
            case.write(root)
    backends = make_backends(tmp_path_factory.mktemp("backends"), BACKEND, "python_inprocess")
    findings: dict[str | None, list] = {}
    for each in check(ServerOptions(model_repository=[root]), server=server(backends)):
        findings.setdefault(each.model, []).append(each)
    return findings


@pytest.mark.parametrize(
    "case",
    [case for case in [*TOGETHER, *STATES] if case.name not in WITHOUT_SCHEMA],
    ids=lambda case: case.name,
)
def test_a_model(together, case):
    findings = together.get(case.name, [])

    assert told(findings, "error") == tuple(sorted(case.rules))
    assert told(findings, "warning") == tuple(sorted(case.warnings))


@pytest.mark.parametrize("case", IMAGES, ids=lambda case: case.name)
def test_a_model_of_an_image(tmp_path, case):
    case.write(tmp_path / "models")
    names = [
        "onnxruntime",
        "openvino",
        "pytorch",
        "tensorflow",
        "tensorrt",
        "dali",
        "python",
        BACKEND,
        "other",
    ]
    backends = make_backends(tmp_path / "backends", *names, "python_inprocess")

    findings = check(ServerOptions(model_repository=[tmp_path / "models"]), server=server(backends, "2.66.0"))

    assert told(findings, "error") == case.rules
    assert told(findings, "warning") == case.warnings


@pytest.mark.parametrize(
    "case", [case for case in ALONE if "resource" not in case.name], ids=lambda case: case.name
)
def test_repositories(tmp_path, case):
    backends = make_backends(tmp_path / "backends", BACKEND)
    (tmp_path / "models").mkdir()
    roots = case.build(tmp_path / "models")
    flags = [f"--model-repository={root}" for root in roots] + list(case.flags)

    findings = check(ServerOptions.from_argv(flags), server=server(backends))

    assert told(findings, "error") == case.rules
    assert told(findings, "warning") == case.warnings


def test_every_rule_has_a_broken_and_a_sound_directory():
    cases = [*TOGETHER, *STATES, *IMAGES, *ALONE]
    with_faults = {rule for case in cases for rule in (*case.rules, *case.warnings)}

    assert with_faults == set(rules())
    assert list(rules()) == [f"C{number:02}" for number in range(1, 41)]
    assert sum(not case.rules and not case.warnings for case in cases) > 60


def write(root: Path, config: str | None = IO, **more) -> ServerOptions:
    Case("model", (), config, **more).write(root)
    return ServerOptions(model_repository=[root])


def only(options, **more):
    [finding] = check(options, **more)
    return finding


def test_what_the_seed_log_was_about(tmp_path):
    (tmp_path / "models" / "0001" / "model.savedmodel").mkdir(parents=True)

    level, zeros = check(ServerOptions(model_repository=[tmp_path / "models"]))

    assert level.message == f"`{tmp_path}/models` looks like a model, not a repository: pass its parent"
    assert level.mend == f"--model-repository={tmp_path}"
    assert zeros.mend == "rename 0001 to 1"


def test_place_words_and_mend(tmp_path):
    options = write(
        tmp_path, "max_batch_size: 4\n" + IO + "dynamic_batching {\n  preferred_batch_size: [ 2,\n   8 ]\n}"
    )

    finding = only(options)

    assert (finding.rule, finding.severity, finding.model) == ("C15", "error", "model")
    assert str(finding.place) == f"{tmp_path}/model/config.pbtxt:8:4"
    assert finding.message == "preferred_batch_size 8 is out of 1 to max_batch_size, which is 4"
    assert finding.server_says == "dynamic batching preferred size must be <= max batch size for model"
    assert finding.mend == "leave preferred_batch_size out"


def test_a_misspelt_field(tmp_path):
    finding = only(write(tmp_path, IO + "max_batchsize: 4"))

    assert finding.message == 'Message type "inference.ModelConfig" has no field named "max_batchsize".'
    assert finding.place.line == 5
    assert finding.mend == "did you mean max_batch_size?"


@pytest.mark.parametrize(
    ("config", "mend"),
    [
        (
            'backend: "b" input { name: "IN" data_type: TYPE_DOUBLE dims: 4 }',
            "one of TYPE_BOOL, TYPE_UINT8, ",
        ),
        ('backend: "b" instance_group { kind: KIND_TPU }', "one of KIND_AUTO, "),
        ('backend: "b" input { name: "IN" data_type: TYPE_FP32 dims: [ 4 }', "a , or ] is missing before it"),
    ],
)
def test_what_may_stand_there(tmp_path, config, mend):
    finding = only(write(tmp_path, config))
    assert finding.rule == "C04"
    assert finding.mend.startswith(mend)


def test_a_misspelt_member(tmp_path):
    maps = 'input_map { key: "IN" value: "A" } output_map { key: "OUT" value: "B" }'
    step = f'step {{ model_name: "modle" model_version: -1 {maps} }}'
    tensors = "".join(
        f'{side} {{ name: "{name}" data_type: TYPE_FP32 dims: 4 }}'
        for side, name in (("input", "A"), ("output", "B"), ("output", "C"))
    )
    Case("all", (), f'platform: "ensemble" {tensors} ensemble_scheduling {{ {step} }}').write(tmp_path)
    mends = [each.mend for each in check(write(tmp_path)) if each.rule == "C30"]
    assert mends == ['output_map { key: "OUTPUT OF THE MODEL" value: "C" } in a step', 'model_name: "model"?']


def test_a_field_that_the_server_does_not_have(tmp_path, monkeypatch):
    known = {
        "inference.ModelConfig": {"backend", "input", "output"},
        "inference.ModelInput": {"name", "data_type"},
    }
    known["inference.ModelOutput"] = {"name", "data_type", "dims"}
    monkeypatch.setattr("triton_backend_sdk.tools.check.engine.server_fields", lambda library: known)
    installed = ServerInstallation(Path("x"), Path("x"), None, None, "", "2.51.0")

    finding = only(write(tmp_path), server=installed)

    assert finding.rule == "C04"
    assert finding.message == 'this server (2.51) has no field "dims" in inference.ModelInput: it came later'
    assert (finding.place.line, finding.place.column) == (3, 41)


def test_a_field_that_only_the_server_has(tmp_path, monkeypatch):
    known = {"inference.ModelConfig": {"backend", "input", "output", "of_tomorrow"}}
    monkeypatch.setattr("triton_backend_sdk.tools.check.engine.server_fields", lambda library: known)
    installed = ServerInstallation(Path("x"), Path("x"), None, None, "", "2.67.0")

    finding = only(write(tmp_path, "of_tomorrow: 1"), server=installed)

    assert (finding.severity, finding.mend) == ("warning", "pip install -U 'tritonclient[grpc]'")


def test_a_config_that_is_no_file(tmp_path):
    (tmp_path / "model" / "1").mkdir(parents=True)
    os.mkfifo(tmp_path / "model" / "config.pbtxt")

    [error] = check(ServerOptions(model_repository=[tmp_path]))

    assert (error.rule, error.severity) == ("C04", "error")
    assert error.message == "is no file: the server would read it without an end"


def test_a_config_that_nobody_waits_for(tmp_path):
    options = write(tmp_path, "#" * (LARGEST_CONFIG + 1))

    [warning] = check(options)

    assert (warning.rule, warning.severity) == ("C04", "warning")
    assert warning.message == "has 4 MB, and is not looked at: configs have kilobytes"


def test_a_long_chain_of_ensembles(tmp_path):
    for index in range(200):
        member = f"e{(index + 1) % 200:03}"
        steps = [step(member, {"A": "A"}, {"B": "T"}), step(member, {"A": "T"}, {"B": "B"})]
        write_model(tmp_path, f"e{index:03}", ensemble(*steps), {})

    found = check(ServerOptions(model_repository=[tmp_path]))

    assert len([each for each in found if "ensembles of each other: e" in each.message]) == 200


def test_a_program_that_python_cannot_hold(tmp_path):
    options = write(
        tmp_path, 'backend: "python_inprocess"', files={"1/model.py": "x = " + "+".join(["1"] * 30000)}
    )

    assert {each.rule for each in check(options)} == {"C36"}


def test_a_config_that_cannot_be_read(tmp_path):
    (tmp_path / "model" / "config.pbtxt").mkdir(parents=True)

    [error] = [each for each in check(ServerOptions(model_repository=[tmp_path])) if each.severity == "error"]

    assert (error.rule, error.message) == ("C04", "is a folder: the server ends with a signal")


@pytest.mark.parametrize(("gpus", "group", "rules"), [
    (1, "kind: KIND_GPU", ()),
    (2, "kind: KIND_GPU gpus: [ 0, 1 ]", ()),
    (2, "kind: KIND_GPU gpus: [ 0, 2 ]", ("C24",)),
    (2, "gpus: [ 1 ]", ()),
    (2, "gpus: [ 2 ]", ("C24",)),
    (1, "kind: KIND_CPU gpus: 0", ("C24",)),
])  # fmt: skip
def test_gpus(tmp_path, gpus, group, rules):
    options = write(tmp_path, IO + f"instance_group {{ {group} }}")

    assert told(check(options, gpus=gpus), "error") == rules


def test_growable_memory_with_a_gpu(tmp_path):
    state = next(case.config for case in STATES if case.name == "state_growable_cpu")

    assert told(check(write(tmp_path, state), gpus=1), "error") == ()


def test_escapes_that_old_servers_let_pass(tmp_path):
    backends = make_backends(tmp_path / "backends", BACKEND)
    config = 'output { name: "OUT" data_type: TYPE_FP32 dims: 4 label_filename: "../labels.txt" }'
    options = write(tmp_path / "models", config)
    (tmp_path / "models" / "labels.txt").write_text("a\n")

    assert check(options, server=server(backends, "2.65.0")) == []
    assert only(options, server=server(backends, "2.66.0")).rule == "C22"


def test_without_a_server_any_backend_may_be_there(tmp_path):
    assert check(write(tmp_path, 'backend: "nowhere"')) == []


def test_a_backend_written_in_python(tmp_path):
    backends = make_backends(tmp_path / "backends", "python")
    (backends / "vllm").mkdir()
    (backends / "vllm" / "model.py").touch()
    options = write(tmp_path / "models", 'backend: "vllm"')

    assert check(options, server=server(backends)) == []
    (backends / "python" / "libtriton_python.so").unlink()
    assert "libtriton_python.so" in only(options, server=server(backends)).message


def test_a_library_with_the_model(tmp_path):
    backends = make_backends(tmp_path / "backends", "python")
    options = write(tmp_path / "models", 'backend: "own"', files={"1/libtriton_own.so": ""})

    assert check(options, server=server(backends)) == []


def test_a_stub_without_its_libpython(tmp_path, monkeypatch):
    backends = make_backends(tmp_path / "backends", "python")
    (backends / "python" / "triton_python_backend_stub").touch()
    options = write(tmp_path / "models", None, files={"1/model.py": MODEL_PY})
    monkeypatch.setattr(rules_files, "unresolved", lambda file: ["libpython3.10.so.1.0"])

    finding = only(options, server=server(backends))

    assert finding.rule == "C36"
    assert "lacks libpython3.10.so.1.0: the server would hang on 'model'" in finding.message


@pytest.mark.parametrize(("version", "rules"), [("2.51.0", ("C11",)), ("2.65.0", ()), (None, ())])
def test_a_platform_of_later(tmp_path, version, rules):
    config = 'backend: "pytorch" platform: "torch_aoti"' + IO
    backends = make_backends(tmp_path / "backends", "pytorch")
    found = check(write(tmp_path / "models", config), server=server(backends, version))
    assert tuple(each.rule for each in found if each.rule == "C11") == rules


def test_a_python_backend_without_its_stub(tmp_path):
    backends = make_backends(tmp_path / "backends", "python")
    options = write(tmp_path / "models", None, files={"1/model.py": MODEL_PY})
    assert check(options, server=server(backends)) == []  # python_inprocess in its place needs none

    (backends / "python" / "triton_python_backend_utils.py").touch()
    finding = only(options, server=server(backends))
    assert (finding.rule, finding.severity) == ("C36", "note")
    assert "has no stub: it would not serve 'model'" in finding.message


def test_shared_memory_of_clients(tmp_path):
    options = write(tmp_path)

    finding = only(options, server=server(None, "2.68.0"))

    assert (finding.rule, finding.severity) == ("C40", "note")
    options.allow_client_shm = True
    assert check(options, server=server(None, "2.68.0")) == []


def test_tensorflow_before_it_went(tmp_path):
    options = write(tmp_path, None, files={"1/model.graphdef": ""})

    assert check(options, server=server(None, "2.56.0")) == []


def test_doubles_are_noted(tmp_path):
    finding = only(write(tmp_path, 'input { name: "IN" data_type: TYPE_FP64 dims: 4 }'))

    assert (finding.rule, finding.severity) == ("C39", "note")


@pytest.mark.parametrize(
    "case", [case for case in ALONE if "resource" in case.name], ids=lambda case: case.name
)
def test_resources(tmp_path, case):
    flags = [f"--model-repository={root}" for root in case.build(tmp_path)] + list(case.flags)

    findings = check(ServerOptions.from_argv(flags))

    assert told(findings, "error") == case.rules
    assert told(findings, "warning") == case.warnings


def test_ensembles_that_lose_a_model_say_which(tmp_path):
    for case in TOGETHER:
        if case.name in ("plain", "negative_batch", "graph_of_broken"):
            case.write(tmp_path)

    finding = next(each for each in check(ServerOptions(model_repository=[tmp_path])) if each.rule == "C30")

    assert finding.message == (
        f"its model 'negative_batch' is not served: C14 at {tmp_path}/negative_batch/config.pbtxt:5:1"
    )


@pytest.mark.parametrize(
    ("steps", "mend"),
    [
        ([step("plain", {"INN": "A"}, {"OUT": "B"})], 'key: "IN"?'),
        ([step("plain", {"IN": "A"}, {"OUTPUT": "B"})], 'key: "OUT"?'),
        ([step("pair", {"IN0": "A", "IN_1": "A"}, {"OUT0": "B"})], 'key: "IN1"?'),
        (
            [step("plain", {"IN": "A"}, {"OUT": "words"}), step("plain", {"IN": "wrods"}, {"OUT": "B"})],
            'value: "words" in place of "wrods"?',
        ),
        ([step("plain", {"IN": "A"}, {"OUT": "BB"})], 'value: "B" in place of "BB"?'),
        ([step("plian", {"IN": "A"}, {"OUT": "B"})], 'model_name: "plain"?'),
    ],
    ids=["input", "output", "one that is left", "tensor", "output of the ensemble", "model"],
)
def test_what_was_meant_by_a_misspelt_name_of_an_ensemble(tmp_path, steps, mend):
    for case in TOGETHER:
        if case.name in ("plain", "pair"):
            case.write(tmp_path)
    write_model(tmp_path, "pipe", ensemble(*steps), {})

    found = [each for each in check(ServerOptions(model_repository=[tmp_path])) if each.model == "pipe"]

    assert mend in [each.mend for each in found if each.rule == "C30"]


@pytest.mark.parametrize(
    ("place", "mend"),
    [
        ("s3:/bucket/models", "write s3://bucket/models"),
        ("s3:bucket", "write s3://bucket"),
        ("s3//bucket", "write s3://bucket"),
        ("S3://bucket/models", "write s3://bucket/models"),
        ("s3:///bucket/models", "write s3://bucket/models"),
        ("gcs://bucket/models", "write gs://bucket/models"),
        ("az://account/container", "write as://account/container"),
        ("file:///srv/models", "write /srv/models"),
        ("http://store:9000/bucket", "write s3://http://store:9000/bucket"),
        ("modles", "did you mean models?"),
        ("models/one/config.pbtxt", "name the folder that holds the model's: models"),
        ("models/one", "--model-repository=models"),
        ("models/one/1", "--model-repository={root}/models"),
        (".", "--model-repository=models"),
    ],
)
def test_a_root_that_is_none_says_what_was_meant(tmp_path, monkeypatch, place, mend):
    write_model(tmp_path / "models", "one", "", {})
    monkeypatch.chdir(tmp_path)

    [finding] = check(ServerOptions(model_repository=[place]))

    assert finding.mend == mend.format(root=tmp_path)


def test_the_parent_of_the_folder_that_one_is_in(tmp_path, monkeypatch):
    write_model(tmp_path / "models", "one", "", {})
    monkeypatch.chdir(tmp_path / "models" / "one")

    [finding] = check(ServerOptions(model_repository=["."]))

    assert finding.mend == f"--model-repository={tmp_path / 'models'}"
