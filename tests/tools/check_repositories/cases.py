"""Repositories, broken and sound: what each rule of `tbsdk check` is held against, here and in the real server.

The model of a case is called as the case, which says what is wrong with it. Rules that look at one model have all
their cases in one repository of one server; :data:`ALONE` has those that need a server of their own.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from pathlib import Path

#: The backend of most cases: it answers any config with zeros.
BACKEND = "anything"
IO = """
input { name: "IN" data_type: TYPE_FP32 dims: 4 }
output { name: "OUT" data_type: TYPE_FP32 dims: 4 }
"""
MODEL_PY = """
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        zeros = np.zeros([4], np.float32)
        return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", zeros)]) for request in requests]
"""


@dataclass(frozen=True)
class Link:
    """A symbolic link."""

    to: str


Files = dict[str, "str | bytes | Link"]


@dataclass(frozen=True)
class Case:
    """A model, and which rules speak of it."""

    name: str
    #: Errors of `check`; () for a model that the server serves.
    rules: tuple[str, ...]
    #: The config without its ``backend:`` where that is :data:`BACKEND`; None: no config.
    config: str | None
    files: Files = field(default_factory=dict)
    #: Warnings of `check`.
    warnings: tuple[str, ...] = ()
    #: Other models that it needs: name to config.
    beside: dict[str, str] = field(default_factory=dict)
    #: Whether a request tells whether it works; False where the SDK's backend is stricter than others.
    asked: bool = True

    def text(self) -> str | None:
        return None if self.config is None else with_backend(self.config)

    def write(self, repository: Path) -> None:
        write_model(repository, self.name, self.text(), self.files)
        for name, config in self.beside.items():
            write_model(repository, name, with_backend(config), {})


def with_backend(config: str) -> str:
    config = textwrap.dedent(config)
    return config if "backend:" in config or "platform:" in config else f'backend: "{BACKEND}"\n{config}'


def write_model(repository: Path, name: str, config: str | None, files: Files) -> None:
    root = repository / name
    root.mkdir(parents=True)
    if config is not None:
        (root / "config.pbtxt").write_text(config.replace("{model}", str(root)))
    for path, content in (files or {"1/": ""}).items():
        place = root / path
        if path.endswith("/"):
            place.mkdir(parents=True)
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Link):
            place.symlink_to(content.to)
            continue
        place.write_bytes(content.encode() if isinstance(content, str) else content)


def sound(name: str, config: str | None, files: Files | None = None, **more: object) -> Case:
    return Case(name, (), config, files or {}, **more)  # type: ignore[arg-type]


def broken(name: str, rule: str, config: str | None, files: Files | None = None, **more: object) -> Case:
    return Case(name, (rule,), config, files or {}, **more)  # type: ignore[arg-type]


V1: Files = {"1/": ""}

LAYOUT = [
    sound("plain", IO),
    sound("no_tensors", ""),
    broken("nothing_in_it", "C03", None),
    broken("no_backend.nowhere", "C12", None, warnings=("C03",)),
    broken("unknown_field", "C04", IO + "max_batchsize: 4"),
    broken("twice", "C04", IO + "max_batch_size: 4\nmax_batch_size: 8"),
    broken("no_text", "C04", 'backend "anything"'),
    broken("open_brace", "C04", IO + "instance_group { count: 1"),
    broken("link_to_nowhere", "C01", IO, {"1/": "", "beside": Link("nowhere")}),
    broken("link_in_a_circle", "C01", IO, {"1/": "", "2": Link("2")}),
    sound(
        "link_to_nowhere_in_a_version",
        IO,
        {"1/": "", "1/beside": Link("nowhere"), "1/circle": Link("circle")},
    ),
    sound("linked_version", IO, {"1": Link("2"), "2/": ""}),
    broken("wrong_enum", "C04", 'input { name: "IN" data_type: FP32 dims: 4 }'),
    broken("text_for_number", "C04", IO + 'max_batch_size: "4"'),
    broken("too_large_a_number", "C04", IO + "max_batch_size: 3000000000"),
    broken("two_of_one", "C04", IO + "version_policy { all {} latest { num_versions: 1 } }"),
    sound(
        "comments_and_commas",
        '# a comment\nname: "comments_and_commas" # another\n'
        + IO
        + "instance_group [ { count: 1 }, { count: 1 } ]",
    ),
    sound("angle_brackets", IO + "instance_group < count: 1 >"),
    sound("text_in_parts", IO + "parameters { key: 'a' 'b' value { string_value: \"c\" \"d\" } }"),
    broken("other_name", "C05", 'name: "another"\n' + IO),
    sound("same_name", 'name: "same_name"\n' + IO),
    broken("no_version", "C07", IO, {"a.txt": ""}),
    broken("latest_none", "C07", IO + "version_policy { latest { num_versions: 0 } }"),
    broken("leading_zeros", "C07", IO, {"0001/": ""}, warnings=("C08",)),
    sound("beside_zeros", IO, {"1/": "", "02/": ""}, warnings=("C08",)),
    sound(
        "words_beside",
        IO,
        {"1/": "", "docs/": "", "warmup/": "", "configs/": "", "initial_state/": ""},
        warnings=("C08",),
    ),
    sound("version_zero", IO, {"0/": ""}),
    broken("specific_absent", "C09", IO + "version_policy { specific { versions: [ 3 ] } }", V1),
    sound("specific_half", IO + "version_policy { specific { versions: [ 1, 3 ] } }", V1, warnings=("C09",)),
    sound("specific", IO + "version_policy { specific { versions: [ 1 ] } }"),
    sound("all_versions", IO + "version_policy { all {} }", {"1/": "", "3/": ""}),
    broken("no_versions_named", "C07", IO + "version_policy { specific { } }"),
    sound("version_with_tail", IO + "version_policy { all {} }", {"1/": "", "2a/": ""}, warnings=("C08",)),
]
FRAMEWORK = [
    broken("no_backend", "C10", 'name: "no_backend" platform: ""\n' + IO, {"1/other.bin": ""}),
    broken("agent_absent", "C12", IO + 'model_repository_agents { agents { name: "checksum" } }'),
    sound(
        "operations_absent",
        IO + 'model_operations { op_library_filename: "./absent.so" }',
        warnings=("C34",),
    ),
    broken("foreign_platform", "C10", 'platform: "keras"\n' + IO),
    Case(
        "bad_pair", ("C11", "C12"), 'platform: "tensorrt_plan" backend: "pytorch"\n' + IO, {"1/model.pt": ""}
    ),
    broken("alt_pair", "C10", 'platform: "libtorch"\n' + IO, {"1/model.pt": ""}),
    Case(
        "pair_of_onnx",
        ("C11", "C12"),
        'backend: "onnxruntime" platform: "pytorch_libtorch"\n' + IO,
        {"1/model.onnx": ""},
    ),
    broken("no_library", "C12", 'backend: "nowhere"\n' + IO),
    broken("no_library_for_onnx", "C12", None, {"1/model.onnx": ""}),
    broken("no_runtime", "C12", IO + 'runtime: "libother.so"'),
    broken("runtime_outside", "C12", IO + 'runtime: "../python_inprocess/libtriton_python_inprocess.so"'),
    sound("runtime_named", IO + 'runtime: "libtriton_anything.so"'),
    broken("no_model_py", "C13", 'backend: "python_inprocess"\n' + IO),
    broken(
        "no_model_py_of_that_name",
        "C13",
        'backend: "python_inprocess" default_model_filename: "other.py"\n' + IO,
        {"1/model.py": MODEL_PY},
    ),
    sound("model_py", 'backend: "python_inprocess"\n' + IO, {"1/model.py": MODEL_PY}),
    sound(
        "python_with_platform",
        'backend: "python_inprocess" platform: "pytorch_libtorch"\n' + IO,
        {"1/model.py": MODEL_PY},
        warnings=("C11",),
    ),
    broken("no_class", "C36", 'backend: "python_inprocess"\n' + IO, {"1/model.py": "x = 1\n"}),
    broken(
        "no_python",
        "C36",
        'backend: "python_inprocess"\n' + IO,
        {"1/model.py": "class TritonPythonModel\n    pass\n"},
    ),
    broken(
        "strategy_absent",
        "C33",
        IO
        + 'max_batch_size: 4 dynamic_batching {} parameters { key: "TRITON_BATCH_STRATEGY_PATH" value { string_value: "{model}/batch.so" } }',
    ),
    broken(
        "strategy_outside",
        "C33",
        IO
        + 'max_batch_size: 4 dynamic_batching {} parameters { key: "TRITON_BATCH_STRATEGY_PATH" value { string_value: "/usr/lib/batch.so" } }',
    ),
    broken(
        "strategy_and_sequence",
        "C33",
        IO
        + 'max_batch_size: 4 sequence_batching {} parameters { key: "TRITON_BATCH_STRATEGY_PATH" value { string_value: "{model}/batch.so" } }',
    ),
]
BATCHING = [
    broken("negative_batch", "C14", IO + "max_batch_size: -1"),
    sound("batch", IO + "max_batch_size: 8"),
    broken(
        "preferred_large", "C15", IO + "max_batch_size: 4 dynamic_batching { preferred_batch_size: [ 2, 8 ] }"
    ),
    broken("preferred_zero", "C15", IO + "max_batch_size: 4 dynamic_batching { preferred_batch_size: 0 }"),
    broken("preferred_without_batch", "C15", IO + "dynamic_batching { preferred_batch_size: 1 }"),
    sound("preferred", IO + "max_batch_size: 4 dynamic_batching { preferred_batch_size: [ 2, 4 ] }"),
    sound("dynamic_without_batch", IO + "dynamic_batching { }"),
    broken("no_default_priority", "C16", IO + "max_batch_size: 4 dynamic_batching { priority_levels: 2 }"),
    broken(
        "default_priority_large",
        "C16",
        IO + "max_batch_size: 4 dynamic_batching { priority_levels: 2 default_priority_level: 3 }",
    ),
    broken(
        "policy_of_no_priority",
        "C16",
        IO
        + "max_batch_size: 4 dynamic_batching { priority_levels: 2 default_priority_level: 1 priority_queue_policy { key: 3 value { max_queue_size: 4 } } }",
    ),
    sound(
        "priorities",
        IO
        + "max_batch_size: 4 dynamic_batching { priority_levels: 2 default_priority_level: 1 priority_queue_policy { key: 2 value { max_queue_size: 4 } } }",
    ),
    broken(
        "ordered_priorities",
        "C17",
        IO
        + "max_batch_size: 4 dynamic_batching { preserve_ordering: true priority_levels: 2 default_priority_level: 1 }",
    ),
    broken(
        "ordered_delay",
        "C17",
        IO
        + "max_batch_size: 4 dynamic_batching { preserve_ordering: true default_queue_policy { timeout_action: DELAY default_timeout_microseconds: 100 } }",
    ),
    broken(
        "ordered_delay_of_one",
        "C17",
        IO
        + "max_batch_size: 4 dynamic_batching { preserve_ordering: true priority_levels: 1 default_priority_level: 1 priority_queue_policy { key: 1 value { timeout_action: DELAY default_timeout_microseconds: 100 } } }",
    ),
    sound(
        "ordered",
        IO
        + "max_batch_size: 4 dynamic_batching { preserve_ordering: true default_queue_policy { timeout_action: DELAY } }",
    ),
    broken(
        "cached_sequence",
        "C25",
        IO + "max_batch_size: 4 sequence_batching { } response_cache { enable: true }",
    ),
    broken(
        "cached_decoupled",
        "C25",
        IO + "model_transaction_policy { decoupled: true } response_cache { enable: true }",
    ),
    sound("cached_without_cache", IO + "response_cache { enable: true }", warnings=("C25",)),
]
TENSORS = [
    broken("no_name", "C18", "input { data_type: TYPE_FP32 dims: 4 }"),
    broken("no_data_type", "C18", 'input { name: "IN" dims: 4 }'),
    broken("no_dims", "C18", 'output { name: "OUT" data_type: TYPE_FP32 }'),
    broken("dim_zero", "C18", 'input { name: "IN" data_type: TYPE_FP32 dims: [ 4, 0 ] }'),
    broken("dim_minus_two", "C18", 'output { name: "OUT" data_type: TYPE_FP32 dims: [ -2 ] }'),
    sound("any_dim", 'input { name: "IN" data_type: TYPE_FP32 dims: [ -1, 2 ] }'),
    broken(
        "reshape_size",
        "C19",
        'input { name: "IN" data_type: TYPE_FP32 dims: [ 4 ] reshape { shape: [ 2, 3 ] } }',
    ),
    broken(
        "reshape_wildcards",
        "C19",
        'input { name: "IN" data_type: TYPE_FP32 dims: [ -1, 4 ] reshape { shape: [ -1, -1 ] } }',
    ),
    broken(
        "reshape_parts",
        "C19",
        'input { name: "IN" data_type: TYPE_FP32 dims: [ 2, -1 ] reshape { shape: [ 3, -1 ] } }',
    ),
    broken(
        "reshape_zero",
        "C19",
        'input { name: "IN" data_type: TYPE_FP32 dims: [ 4 ] reshape { shape: [ 4, 0 ] } }',
    ),
    broken("reshape_empty", "C19", 'input { name: "IN" data_type: TYPE_FP32 dims: [ 1 ] reshape { } }'),
    broken(
        "reshape_wildcard_gone",
        "C19",
        'input { name: "IN" data_type: TYPE_FP32 dims: [ -1 ] reshape { shape: [ 4 ] } }',
    ),
    sound(
        "reshape_empty_batch",
        'max_batch_size: 4 input { name: "IN" data_type: TYPE_FP32 dims: [ 1 ] reshape { } }',
    ),
    sound(
        "reshape",
        'input { name: "IN" data_type: TYPE_FP32 dims: [ 2, 4, -1, 6 ] reshape { shape: [ 8, -1, 1, 6 ] } }',
    ),
    broken(
        "format_dims", "C20", 'input { name: "IN" data_type: TYPE_FP32 dims: [ 4, 4 ] format: FORMAT_NHWC }'
    ),
    sound("format", 'input { name: "IN" data_type: TYPE_FP32 dims: [ 4, 4, 3 ] format: FORMAT_NHWC }'),
    broken(
        "shape_tensor", "C20", 'input { name: "IN" data_type: TYPE_INT32 dims: [ 2 ] is_shape_tensor: true }'
    ),
    broken(
        "shape_tensor_out",
        "C20",
        'output { name: "OUT" data_type: TYPE_INT32 dims: [ 2 ] is_shape_tensor: true }',
    ),
    broken(
        "non_linear",
        "C20",
        'input { name: "IN" data_type: TYPE_FP32 dims: [ 4, 4, 3 ] is_non_linear_format_io: true }',
    ),
    broken(
        "same_inputs",
        "C21",
        'input { name: "IN" data_type: TYPE_FP32 dims: 4 } input { name: "IN" data_type: TYPE_FP32 dims: 4 }',
    ),
    sound(
        "same_outputs",
        'input { name: "IN" data_type: TYPE_FP32 dims: 4 } output { name: "OUT" data_type: TYPE_FP32 dims: 4 } output { name: "OUT" data_type: TYPE_FP32 dims: 4 }',
        warnings=("C21",),
        asked=False,
    ),
    sound(
        "same_optional_inputs",
        'input { name: "IN" data_type: TYPE_FP32 dims: 4 optional: true } input { name: "IN" data_type: TYPE_FP32 dims: 4 optional: true }',
        warnings=("C21",),
    ),
    sound(
        "in_as_out",
        'input { name: "X" data_type: TYPE_FP32 dims: 4 } output { name: "X" data_type: TYPE_FP32 dims: 4 }',
    ),
    broken(
        "no_labels", "C22", 'output { name: "OUT" data_type: TYPE_FP32 dims: 4 label_filename: "labels.txt" }'
    ),
    broken(
        "labels_outside",
        "C22",
        'output { name: "OUT" data_type: TYPE_FP32 dims: 4 label_filename: "../labels.txt" }',
    ),
    sound(
        "labels",
        'output { name: "OUT" data_type: TYPE_FP32 dims: 4 label_filename: "labels.txt" }',
        {"1/": "", "labels.txt": "a\nb\n"},
    ),
    broken(
        "batch_input_sources",
        "C23",
        IO
        + 'max_batch_size: 4 batch_input { kind: BATCH_ELEMENT_COUNT target_name: "N" data_type: TYPE_INT32 source_input: [ "IN", "IN" ] }',
    ),
    broken(
        "batch_input_type",
        "C23",
        IO
        + 'max_batch_size: 4 batch_input { kind: BATCH_ELEMENT_COUNT target_name: "N" data_type: TYPE_INT64 source_input: "IN" }',
    ),
    broken(
        "batch_input_unknown",
        "C23",
        IO
        + 'max_batch_size: 4 batch_input { kind: BATCH_ELEMENT_COUNT target_name: "N" data_type: TYPE_INT32 source_input: "INPUT" }',
    ),
    broken("batch_output_sources", "C23", IO + 'max_batch_size: 4 batch_output { target_name: "OUT" }'),
    broken(
        "batch_output_unknown",
        "C23",
        IO + 'max_batch_size: 4 batch_output { target_name: "OUTPUT" source_input: "IN" }',
    ),
    broken(
        "batch_output_twice",
        "C23",
        IO + 'max_batch_size: 4 batch_output { target_name: [ "OUT", "OUT" ] source_input: "IN" }',
    ),
    sound(
        "batch_io",
        IO
        + 'max_batch_size: 4 batch_input { kind: BATCH_ELEMENT_COUNT target_name: "N" data_type: TYPE_INT32 source_input: "IN" } batch_output { target_name: "OUT" source_input: "IN" }',
    ),
    broken(
        "batch_input_kind",
        "C23",
        IO
        + 'max_batch_size: 4 batch_input { kind: 99 target_name: "N" data_type: TYPE_INT32 source_input: "IN" }',
    ),
    broken(
        "batch_output_kind",
        "C23",
        IO + 'max_batch_size: 4 batch_output { kind: 99 target_name: "OUT" source_input: "IN" }',
    ),
    broken("data_type_of_none", "C18", 'input { name: "IN" data_type: 99 dims: 4 }'),
    sound(
        "double_batch",
        'max_batch_size: 4 input { name: "IN" data_type: TYPE_FP32 dims: [ -1, 4 ] }',
        warnings=("C39",),
    ),
    sound("doubles", 'input { name: "IN" data_type: TYPE_FP64 dims: [ 4 ] }'),
]
INSTANCES = [
    broken("no_gpu", "C24", IO + "instance_group { kind: KIND_GPU }"),
    broken("no_such_gpu", "C24", IO + "instance_group { kind: KIND_GPU gpus: 7 }"),
    broken("cpu_with_gpu", "C24", IO + "instance_group { kind: KIND_CPU gpus: 0 }"),
    broken("model_with_gpu", "C24", IO + "instance_group { kind: KIND_MODEL gpus: 0 }"),
    broken("auto_with_gpu", "C24", IO + "instance_group { gpus: 0 }"),
    broken("profile", "C24", IO + 'instance_group { profile: "1" }'),
    sound("instances", IO + "instance_group [ { kind: KIND_CPU count: 2 }, { kind: KIND_MODEL } ]"),
    sound("resources", IO + 'instance_group { rate_limiter { resources { name: "R" count: 2 } } }'),
]
SEQUENCE = [
    broken(
        "control_unnamed",
        "C26",
        IO
        + "max_batch_size: 4 sequence_batching { control_input { control { kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] } } }",
    ),
    broken(
        "control_same_name",
        "C26",
        IO
        + 'max_batch_size: 4 sequence_batching { control_input { name: "S" control { kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] } } control_input { name: "S" control { kind: CONTROL_SEQUENCE_END int32_false_true: [ 0, 1 ] } } }',
    ),
    broken(
        "control_twice",
        "C26",
        IO
        + 'max_batch_size: 4 sequence_batching { control_input { name: "S" control { kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] } } control_input { name: "T" control { kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] } } }',
    ),
    broken(
        "control_no_values",
        "C26",
        IO
        + 'max_batch_size: 4 sequence_batching { control_input { name: "S" control { kind: CONTROL_SEQUENCE_START } } }',
    ),
    broken(
        "control_two_values",
        "C26",
        IO
        + 'max_batch_size: 4 sequence_batching { control_input { name: "S" control { kind: CONTROL_SEQUENCE_END int32_false_true: [ 0, 1 ] fp32_false_true: [ 0, 1 ] } } }',
    ),
    broken(
        "control_three",
        "C26",
        IO
        + 'max_batch_size: 4 sequence_batching { control_input { name: "S" control { kind: CONTROL_SEQUENCE_READY fp32_false_true: [ 0, 1, 2 ] } } }',
    ),
    broken(
        "control_one",
        "C26",
        IO
        + 'max_batch_size: 4 sequence_batching { control_input { name: "S" control { kind: CONTROL_SEQUENCE_READY bool_false_true: [ true ] } } }',
    ),
    broken(
        "corrid_type",
        "C26",
        IO
        + 'max_batch_size: 4 sequence_batching { control_input { name: "C" control { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_FP32 } } }',
    ),
    broken(
        "corrid_values",
        "C26",
        IO
        + 'max_batch_size: 4 sequence_batching { control_input { name: "C" control { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT64 int32_false_true: [ 0, 1 ] } } }',
    ),
    broken(
        "corrid_twice",
        "C26",
        IO
        + 'max_batch_size: 4 sequence_batching { control_input { name: "C" control { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT64 } } control_input { name: "D" control { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT64 } } }',
    ),
    sound(
        "controls",
        IO
        + 'max_batch_size: 4 sequence_batching { control_input { name: "S" control { kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] } } control_input { name: "C" control { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT64 } } }',
    ),
    broken(
        "oldest_large",
        "C27",
        IO
        + "max_batch_size: 4 sequence_batching { oldest { max_candidate_sequences: 4 preferred_batch_size: 8 } }",
    ),
    broken(
        "oldest_zero",
        "C27",
        IO
        + "max_batch_size: 4 sequence_batching { oldest { max_candidate_sequences: 4 preferred_batch_size: 0 } }",
    ),
    broken(
        "slots_large",
        "C27",
        IO + "max_batch_size: 4 sequence_batching { direct { minimum_slot_utilization: 1.5 } }",
    ),
    sound(
        "oldest",
        IO
        + "max_batch_size: 4 sequence_batching { oldest { max_candidate_sequences: 4 preferred_batch_size: 4 } }",
    ),
    sound(
        "slots_nan",
        IO + "max_batch_size: 4 sequence_batching { direct { minimum_slot_utilization: nan } }",
    ),
    sound(
        "control_of_no_kind",
        IO + 'max_batch_size: 4 sequence_batching { control_input { name: "S" control { kind: 99 } } }',
        warnings=("C26",),
    ),
    sound("direct", IO + "max_batch_size: 4 sequence_batching { direct { minimum_slot_utilization: 1.0 } }"),
]


def state(text: str, initial: str = "") -> str:
    initial = f"initial_state {{ {initial} }}" if initial else ""
    return IO + (
        'max_batch_size: 4 sequence_batching { state { input_name: "SI" output_name: "SO" '
        f"{text} {initial} }} }}"
    )


_S = "data_type: TYPE_INT32 dims: [ 2 ]"
STATES = [
    sound("state", state(_S)),
    sound("state_zero", state(_S, 'name: "a" data_type: TYPE_INT32 dims: [ 2 ] zero_data: true')),
    sound(
        "state_file",
        state(_S, 'name: "a" data_type: TYPE_INT32 dims: [ 2 ] data_file: "zeros"'),
        {"1/": "", "initial_state/zeros": bytes(8)},
    ),
    broken(
        "state_file_absent",
        "C28",
        state(_S, 'name: "a" data_type: TYPE_INT32 dims: [ 2 ] data_file: "zeros"'),
    ),
    broken(
        "state_file_small",
        "C28",
        state(_S, 'name: "a" data_type: TYPE_INT32 dims: [ 2 ] data_file: "zeros"'),
        {"1/": "", "initial_state/zeros": bytes(7)},
    ),
    broken(
        "state_two",
        "C28",
        state(
            _S,
            'name: "a" data_type: TYPE_INT32 dims: [ 2 ] zero_data: true } initial_state { name: "b" data_type: TYPE_INT32 dims: [ 2 ] zero_data: true',
        ),
    ),
    broken("state_type", "C28", state(_S, 'name: "a" data_type: TYPE_FP32 dims: [ 2 ] zero_data: true')),
    broken("state_unnamed", "C28", state(_S, "data_type: TYPE_INT32 dims: [ 2 ] zero_data: true")),
    broken("state_rank", "C28", state(_S, 'name: "a" data_type: TYPE_INT32 dims: [ 2, 1 ] zero_data: true')),
    broken("state_dims", "C28", state(_S, 'name: "a" data_type: TYPE_INT32 dims: [ 3 ] zero_data: true')),
    broken(
        "state_wildcard",
        "C28",
        state(
            "data_type: TYPE_INT32 dims: [ -1 ]",
            'name: "a" data_type: TYPE_INT32 dims: [ -1 ] zero_data: true',
        ),
    ),
    broken("state_no_data", "C28", state(_S, 'name: "a" data_type: TYPE_INT32 dims: [ 2 ]')),
    broken(
        "state_twice",
        "C28",
        IO
        + 'max_batch_size: 4 sequence_batching { state { input_name: "SI" output_name: "A" data_type: TYPE_INT32 dims: 2 initial_state { name: "a" data_type: TYPE_INT32 dims: 2 zero_data: true } } state { input_name: "SI" output_name: "B" data_type: TYPE_INT32 dims: 2 initial_state { name: "b" data_type: TYPE_INT32 dims: 2 zero_data: true } } }',
    ),
    sound(
        "state_any",
        state(
            "data_type: TYPE_INT32 dims: [ -1 ]",
            'name: "a" data_type: TYPE_INT32 dims: [ 3 ] zero_data: true',
        ),
        warnings=("C28",),
        asked=False,
    ),
    sound(
        "state_any_one",
        state(
            "data_type: TYPE_INT32 dims: [ -1 ]",
            'name: "a" data_type: TYPE_INT32 dims: [ 1 ] zero_data: true',
        ),
    ),
    broken("state_growable", "C28", state(_S + " use_growable_memory: true")),
    broken(
        "state_growable_cpu",
        "C28",
        state(_S + " use_growable_memory: true use_same_buffer_for_input_output: true"),
    ),
]


def ensemble(
    *steps: str, more: str = "", inputs: str = "A", outputs: str = "B", of: str = "TYPE_FP32 dims: 4"
) -> str:
    tensors = [f'input {{ name: "{name}" data_type: {of} }}' for name in inputs.split()]
    tensors += [f'output {{ name: "{name}" data_type: {of} }}' for name in outputs.split()]
    text = "\n".join([*tensors, *(f"  step {{ {step} }}" for step in ())])
    return (
        f'platform: "ensemble"\n{text}\n{more}\nensemble_scheduling {{\n'
        + "\n".join(f"  step {{ {step} }}" for step in steps)
        + "\n}\n"
    )


def step(model: str, inputs: dict[str, str], outputs: dict[str, str], more: str = "model_version: -1") -> str:
    maps = [f'input_map {{ key: "{key}" value: "{value}" }}' for key, value in inputs.items()]
    maps += [f'output_map {{ key: "{key}" value: "{value}" }}' for key, value in outputs.items()]
    return f'model_name: "{model}" {more} ' + " ".join(maps)


_AB = step("plain", {"IN": "A"}, {"OUT": "B"})
ENSEMBLE = [
    sound("ensemble", ensemble(_AB)),
    sound(
        "ensemble_chain",
        ensemble(step("plain", {"IN": "A"}, {"OUT": "X"}), step("batch", {"IN": "X"}, {"OUT": "B"})),
    ),
    broken("ensemble_platform", "C29", ensemble(_AB).replace('platform: "ensemble"', 'backend: "anything"')),
    broken("ensemble_backend", "C29", 'backend: "anything"\n' + ensemble(_AB)),
    Case(
        "ensemble_file",
        ("C12", "C29"),
        ensemble(_AB, more='default_model_filename: "model.onnx"'),
        {"1/model.onnx": ""},
    ),
    broken("ensemble_instances", "C29", ensemble(_AB, more="instance_group { count: 1 }")),
    broken("ensemble_optimization", "C29", ensemble(_AB, more="optimization { priority: PRIORITY_MAX }")),
    broken("ensemble_warmup", "C29", ensemble(_AB, more='model_warmup { name: "w" batch_size: 1 }')),
    broken("ensemble_no_steps", "C29", ensemble()),
    broken("ensemble_no_scheduling", "C29", 'platform: "ensemble"\n' + IO),
    broken("step_no_model", "C29", ensemble(_AB.replace('model_name: "plain"', ""))),
    broken("step_no_inputs", "C29", ensemble('model_name: "plain" output_map { key: "OUT" value: "B" }')),
    broken("step_no_outputs", "C29", ensemble('model_name: "plain" input_map { key: "IN" value: "A" }')),
    broken("graph_no_model", "C30", ensemble(_AB.replace("plain", "no_such_model"))),
    broken("graph_input_unused", "C30", ensemble(_AB, inputs="A J")),
    broken("graph_output_unused", "C30", ensemble(_AB, outputs="B J")),
    broken("graph_written_twice", "C30", ensemble(_AB, _AB)),
    broken(
        "graph_cycle",
        "C30",
        ensemble(
            step("pair", {"IN0": "A", "IN1": "Y"}, {"OUT0": "X"}),
            step("plain", {"IN": "X"}, {"OUT": "Y"}),
            step("plain", {"IN": "Y"}, {"OUT": "B"}),
        ),
        beside={},
    ),
    broken("graph_tensor_unused", "C30", ensemble(_AB, step("plain", {"IN": "A"}, {"OUT": "X"}))),
    broken(
        "graph_not_written",
        "C30",
        ensemble(
            step("plain", {"IN": "Z"}, {"OUT": "B"}), step("plain", {"IN": "A"}, {"OUT": "X"}), outputs="B X"
        ),
    ),
    broken("graph_input_unmapped", "C30", ensemble(step("pair", {"IN0": "A"}, {"OUT0": "B"}))),
    broken("graph_no_such_input", "C30", ensemble(step("plain", {"IN": "A", "INPUT": "A"}, {"OUT": "B"}))),
    broken("graph_no_such_output", "C30", ensemble(step("plain", {"IN": "A"}, {"OUTPUT": "B"}))),
    broken("graph_type", "C30", ensemble(_AB, of="TYPE_INT32 dims: 4")),
    broken("graph_shape", "C30", ensemble(_AB, of="TYPE_FP32 dims: 5")),
    broken("graph_of_broken", "C30", ensemble(step("negative_batch", {"IN": "A"}, {"OUT": "B"}))),
    broken("graph_of_late", "C30", ensemble(step("no_gpu", {"IN": "A"}, {"OUT": "B"}))),
    broken(
        "graph_of_lost", "C30", ensemble(step("graph_shape", {"A": "A"}, {"B": "B"}), of="TYPE_FP32 dims: 5")
    ),
    broken("graph_of_itself", "C30", ensemble(step("graph_of_itself", {"A": "A"}, {"B": "B"}))),
    broken("graph_version_unsaid", "C30", ensemble(step("plain", {"IN": "A"}, {"OUT": "B"}, ""))),
    broken("graph_version", "C30", ensemble(step("plain", {"IN": "A"}, {"OUT": "B"}, "model_version: 7"))),
    sound("ensemble_version", ensemble(step("plain", {"IN": "A"}, {"OUT": "B"}, "model_version: 1"))),
    sound("ensemble_any_version", ensemble(step("plain", {"IN": "A"}, {"OUT": "B"}, "model_version: -1"))),
    sound("ensemble_wildcard", ensemble(_AB, of="TYPE_FP32 dims: -1")),
    sound("ensemble_of_ensemble", ensemble(step("ensemble", {"A": "A"}, {"B": "B"}))),
    sound("ensemble_output_left", ensemble(step("pair", {"IN0": "A", "IN1": "A"}, {"OUT0": "B"}))),
    broken(
        "ensemble_batch_large",
        "C31",
        ensemble(step("batch", {"IN": "A"}, {"OUT": "B"}), more="max_batch_size: 16"),
    ),
    sound("ensemble_batch", ensemble(step("batch", {"IN": "A"}, {"OUT": "B"}), more="max_batch_size: 8")),
    broken(
        "ensemble_decoupled_mix",
        "C30",
        ensemble(
            step("decoupled", {"IN": "A"}, {"OUT": "X"}),
            step("decoupled", {"IN": "A"}, {"OUT": "Y"}),
            step("pair", {"IN0": "X", "IN1": "Y"}, {"OUT0": "B"}),
        ),
    ),
    broken(
        "ensemble_decoupled_outputs",
        "C30",
        ensemble(
            step("decoupled", {"IN": "A"}, {"OUT": "B"}),
            step("plain", {"IN": "A"}, {"OUT": "C"}),
            outputs="B C",
        ),
    ),
    sound(
        "ensemble_not_decoupled",
        ensemble(_AB, more="model_transaction_policy { decoupled: true }"),
        asked=False,
    ),
    sound(
        "ensemble_pair_not_decoupled",
        ensemble(
            step("ensemble_not_decoupled", {"A": "A"}, {"B": "B"}),
            step("plain", {"IN": "A"}, {"OUT": "C"}),
            outputs="B C",
        ),
    ),
    Case(
        "ensemble_input_twice",
        ("C21", "C30"),
        ensemble(
            _AB,
            more='input { name: "A" data_type: TYPE_INT32 dims: 4 } input { name: "A" data_type: TYPE_FP32 dims: 4 }',
            inputs="",
        ),
    ),
    sound(
        "ensemble_output_is_input",
        ensemble(
            step("decoupled", {"IN": "A"}, {"OUT": "T"}),
            step("plain", {"IN": "A"}, {"OUT": "B"}),
            inputs="A T",
            outputs="B T",
        ),
        asked=False,
    ),
    broken(
        "ensemble_of_same_outputs",
        "C30",
        ensemble(step("same_outputs", {"IN": "A"}, {"OUT": "B"})),
    ),
    broken("ensemble_no_version", "C07", ensemble(_AB), {"a.txt": ""}),
]
_PAIR = 'input [ { name: "IN0" data_type: TYPE_FP32 dims: 4 }, { name: "IN1" data_type: TYPE_FP32 dims: 4 } ] output [ { name: "OUT0" data_type: TYPE_FP32 dims: 4 }, { name: "OUT1" data_type: TYPE_FP32 dims: 4 } ]'
HELPERS = [sound("pair", _PAIR), sound("decoupled", IO + "model_transaction_policy { decoupled: true }")]


def warmup(text: str, more: str = "") -> str:
    return IO + f'{more} model_warmup {{ name: "w" batch_size: 1 inputs {{ key: "IN" value {{ {text} }} }} }}'


WARMUP = [
    sound("warmup", warmup("data_type: TYPE_FP32 dims: 4 zero_data: true")),
    sound(
        "warmup_skipped",
        IO + 'model_warmup { name: "w" inputs { key: "IN" value { data_type: TYPE_FP32 dims: -1 } } }',
        warnings=("C32",),
    ),
    sound(
        "warmup_file",
        warmup('data_type: TYPE_FP32 dims: 4 input_data_file: "data"'),
        {"1/": "", "warmup/data": bytes(16)},
    ),
    broken("warmup_wildcard", "C32", warmup("data_type: TYPE_FP32 dims: -1 zero_data: true")),
    broken("warmup_no_data", "C32", warmup("data_type: TYPE_FP32 dims: 4")),
    broken("warmup_file_absent", "C32", warmup('data_type: TYPE_FP32 dims: 4 input_data_file: "data"')),
    broken(
        "warmup_file_small",
        "C32",
        warmup('data_type: TYPE_FP32 dims: 4 input_data_file: "data"'),
        {"1/": "", "warmup/data": bytes(15)},
    ),
    broken(
        "warmup_missing_input",
        "C32",
        _PAIR
        + ' model_warmup { name: "w" batch_size: 1 inputs { key: "IN0" value { data_type: TYPE_FP32 dims: 4 zero_data: true } } }',
    ),
    broken(
        "warmup_negative_dim",
        "C32",
        warmup("data_type: TYPE_FP32 dims: -4 zero_data: true").replace("dims: 4", "dims: -1"),
    ),
    sound(
        "warmup_texts",
        'input { name: "IN" data_type: TYPE_STRING dims: 2 } model_warmup { name: "w" batch_size: 1 inputs { key: "IN" value { data_type: TYPE_STRING dims: 2 input_data_file: "data" } } }',
        {"1/": "", "warmup/data": b"\1\0\0\0a\0\0\0\0"},
        asked=False,
    ),
    broken(
        "warmup_texts_cut",
        "C32",
        'input { name: "IN" data_type: TYPE_STRING dims: 1 } model_warmup { name: "w" batch_size: 1 inputs { key: "IN" value { data_type: TYPE_STRING dims: 1 input_data_file: "data" } } }',
        {"1/": "", "warmup/data": b"\1\0\0\0a\0\0"},
        asked=False,
    ),
    broken(
        "warmup_texts_few",
        "C32",
        'input { name: "IN" data_type: TYPE_STRING dims: 2 } model_warmup { name: "w" batch_size: 1 inputs { key: "IN" value { data_type: TYPE_STRING dims: 2 input_data_file: "data" } } }',
        {"1/": "", "warmup/data": b"\1\0\0\0a"},
        asked=False,
    ),
    broken(
        "warmup_optional_and_missing",
        "C32",
        _PAIR
        + ' input { name: "MORE" data_type: TYPE_FP32 dims: 4 optional: true } model_warmup { name: "w" batch_size: 1 inputs { key: "IN0" value { data_type: TYPE_FP32 dims: 4 zero_data: true } } }',
    ),
    broken("warmup_type", "C32", warmup("data_type: TYPE_INT32 dims: 4 zero_data: true")),
    broken("warmup_dims", "C32", warmup("data_type: TYPE_FP32 dims: 5 zero_data: true")),
    broken(
        "metrics_of_later",
        "C04",
        IO
        + 'model_metrics { metric_control { metric_identifier { family: "a" } histogram_options { buckets: 1 } } }',
    ),
]

# What the two readers of protobuf's text, the server's in C++ and ours in Python, are to agree on.
SYNTAX = [
    sound("crlf", IO.replace("\n", "\r\n") + "max_batch_size: 4\r\n"),
    sound("tabs", IO + "max_batch_size:\t4\t"),
    sound("semicolons", IO + "max_batch_size: 4; instance_group { count: 1; }"),
    sound("commas", IO + "max_batch_size: 4, instance_group { count: 1, }"),
    sound("hexadecimal", IO + "max_batch_size: 0x4"),
    sound("octal", IO + "max_batch_size: 010 dynamic_batching { preferred_batch_size: 8 }"),
    broken("float_for_number", "C04", IO + "max_batch_size: 4.0"),
    sound(
        "number_for_float",
        IO + "max_batch_size: 4 sequence_batching { direct { minimum_slot_utilization: 1 } }",
    ),
    sound(
        "float_with_f",
        IO + "max_batch_size: 4 sequence_batching { direct { minimum_slot_utilization: 0.5f } }",
    ),
    sound("bool_as_number", IO + "max_batch_size: 4 dynamic_batching { preserve_ordering: 1 }"),
    sound("bool_as_letter", IO + "max_batch_size: 4 dynamic_batching { preserve_ordering: t }"),
    sound("bool_in_python", IO + "max_batch_size: 4 dynamic_batching { preserve_ordering: True }"),
    broken("bool_in_capitals", "C04", IO + "max_batch_size: 4 dynamic_batching { preserve_ordering: TRUE }"),
    broken("bool_as_two", "C04", IO + "max_batch_size: 4 dynamic_batching { preserve_ordering: 2 }"),
    *(
        sound(f"bool_as_{name}", IO + f"max_batch_size: 4 dynamic_batching {{ preserve_ordering: {number} }}")
        for name, number in {"hexadecimal": "0x1", "octal": "00"}.items()
    ),
    broken(
        "bool_as_hexadecimal_two",
        "C04",
        IO + "max_batch_size: 4 dynamic_batching { preserve_ordering: 0x2 }",
    ),
    sound("enum_as_number", 'input { name: "IN" data_type: 11 dims: 4 }'),
    sound("enum_as_hexadecimal", 'input { name: "IN" data_type: 0xB dims: 4 }'),
    sound(
        "enum_as_octal",
        'input { name: "IN" data_type: 013 dims: 4 } output { name: "OUT" data_type: 013 dims: 4 }',
    ),
    sound("number_as_octal", IO + "max_batch_size: 010"),
    broken("float_as_octal", "C04", IO + "sequence_batching { direct { minimum_slot_utilization: 01 } }"),
    broken(
        "float_as_hexadecimal", "C04", IO + "sequence_batching { direct { minimum_slot_utilization: 0x1 } }"
    ),
    broken("number_with_underscore", "C04", IO + "max_batch_size: 1_000"),
    broken("number_in_binary", "C04", IO + "max_batch_size: 0b11"),
    sound("underscores_in_text", IO + 'parameters { key: "1_000" value { string_value: "0b11" } } # 1_000'),
    sound("single_quotes", "input { name: 'IN' data_type: TYPE_FP32 dims: 4 }"),
    sound("escapes", IO + r"""parameters { key: "a\n\x41\101\"" value { string_value: "\t" } }"""),
    broken("bad_escape", "C04", IO + r"""parameters { key: "a\q" value { string_value: "" } }"""),
    broken("unclosed_text", "C04", IO + 'parameters { key: "a'),
    broken("text_over_lines", "C04", IO + 'parameters { key: "a\nb" value { string_value: "" } }'),
    broken("slashes", "C04", "// a comment\n" + IO),
    broken("equals", "C04", IO + "max_batch_size = 4"),
    broken("json", "C04", '{ "backend": "anything" }'),
    broken("too_many_braces", "C04", IO + "}"),
    broken("wrong_braces", "C04", IO + "instance_group { count: 1 >"),
    sound("colon_before_brace", IO + "instance_group: { count: 1 }"),
    sound("colon_before_list", IO + "instance_group: [ { count: 1 } ]"),
    broken("comma_in_list_end", "C04", 'input { name: "IN" data_type: TYPE_FP32 dims: [ 4, ] }'),
    sound("empty_list", IO + "instance_group [ ]"),
    broken(
        "negative_for_unsigned",
        "C04",
        IO + "max_batch_size: 4 dynamic_batching { max_queue_delay_microseconds: -1 }",
    ),
    sound("spaced_minus", 'input { name: "IN" data_type: TYPE_FP32 dims: - 1 }'),
    broken("plus", "C04", 'input { name: "IN" data_type: TYPE_FP32 dims: +1 }'),
    broken("list_of_one", "C04", IO + "max_batch_size: [ 4 ]"),
    broken("byte_order_mark", "C04", "\ufeff" + IO),
    sound("umlaut", IO + 'parameters { key: "ü" value { string_value: "é" } }'),
    sound("umlaut_in_comment", "# ü\n" + IO),
    broken("two_schedulers", "C04", IO + "max_batch_size: 4 dynamic_batching { } sequence_batching { }"),
    broken("ensemble_with_batcher", "C04", ensemble(_AB, more="dynamic_batching { }")),
    sound(
        "same_key_twice",
        IO
        + 'parameters { key: "a" value { string_value: "1" } } parameters { key: "a" value { string_value: "2" } }',
    ),
    broken("field_with_dash", "C04", IO + "max-batch-size: 4"),
    broken("field_in_capitals", "C04", IO + "Max_Batch_Size: 4"),
    sound("unicode_escape", IO + r"""parameters { key: "\u00fc" value { string_value: "" } }"""),
    sound("surrogates", IO + r"""parameters { key: "\ud83d\ude00" value { string_value: "\ud800" } }"""),
    sound("code_point_large", IO + r"""parameters { key: "\U00110000" value { string_value: "" } }"""),
    broken("code_point_too_large", "C04", IO + r"""parameters { key: "\U00200000" value { } }"""),
    sound("octal_large", IO + r"""parameters { key: "\400\777" value { string_value: "" } }"""),
    sound("no_utf8", IO + r"""parameters { key: "\xff\377\303\274" value { string_value: "\\xff" } }"""),
    broken("zero_byte", "C04", IO + "# a comment \0"),
    broken("no_break_space", "C04", IO + "\u00a0max_batch_size: 4"),
    broken("line_separator", "C04", IO + "\u2028"),
    broken("control_character", "C04", IO + "\x1c"),
    sound("control_character_in_comment", IO + "# \x1c \u00a0 \u2028"),
    broken("enum_too_large", "C04", 'input { name: "IN" data_type: 4294967307 dims: 4 }'),
]
SYNTAX += [
    sound("minus_over_lines", 'input { name: "IN" data_type: TYPE_FP32 dims: -\n 1 }'),
    sound(
        "exponent", IO + "max_batch_size: 4 sequence_batching { direct { minimum_slot_utilization: 5e-1 } }"
    ),
    sound(
        "exponent_plus",
        IO + "max_batch_size: 4 sequence_batching { direct { minimum_slot_utilization: 0.1e+0 } }",
    ),
    sound("plus_in_text", IO + "parameters { key: 'a + - 1' value { string_value: \"+ - 2\" } } # + - 3"),
    sound("comment_after_minus", 'input { name: "IN" data_type: TYPE_FP32 dims: 4 } # - 1'),
]
MORE = [
    sound("count_zero", IO + "instance_group { count: 0 }"),
    sound("count_negative", IO + "instance_group { count: -1 }"),
    sound(
        "policy_without_levels",
        IO
        + "max_batch_size: 4 dynamic_batching { priority_queue_policy { key: 3 value { max_queue_size: 4 } } }",
    ),
    sound("default_without_levels", IO + "max_batch_size: 4 dynamic_batching { default_priority_level: 3 }"),
    sound(
        "decoupled_sequence",
        IO + "max_batch_size: 4 sequence_batching { } model_transaction_policy { decoupled: true }",
    ),
    sound("host_policy", IO + 'instance_group { host_policy: "p" }'),
    sound(
        "optional_input",
        'input { name: "IN" data_type: TYPE_FP32 dims: 4 } input { name: "MORE" data_type: TYPE_FP32 dims: 4 optional: true } output { name: "OUT" data_type: TYPE_FP32 dims: 4 }',
    ),
    sound("ensemble_optional", ensemble(step("optional_input", {"IN": "A"}, {"OUT": "B"}))),
    sound("ensemble_parameters", ensemble(_AB, more='parameters { key: "a" value { string_value: "b" } }')),
    broken(
        "ensemble_labels",
        "C22",
        ensemble(_AB).replace("dims: 4 }\n\n", 'dims: 4 label_filename: "labels.txt" }\n\n'),
    ),
    sound("ensemble_cached", ensemble(_AB, more="response_cache { enable: true }"), warnings=("C25",)),
    sound(
        "ensemble_of_unbatched",
        ensemble(
            step("rank_two", {"IN": "A"}, {"OUT": "B"}), more="max_batch_size: 4", of="TYPE_FP32 dims: 4"
        ),
        beside={
            "rank_two": 'input { name: "IN" data_type: TYPE_FP32 dims: [ -1, 4 ] } output { name: "OUT" data_type: TYPE_FP32 dims: [ -1, 4 ] }'
        },
    ),
    broken(
        "ensemble_rank",
        "C30",
        ensemble(step("rank_two_too", {"IN": "A"}, {"OUT": "B"}), of="TYPE_FP32 dims: 4"),
        beside={
            "rank_two_too": 'input { name: "IN" data_type: TYPE_FP32 dims: [ -1, 4 ] } output { name: "OUT" data_type: TYPE_FP32 dims: [ -1, 4 ] }'
        },
    ),
    sound(
        "ensemble_batch_of_unbatched",
        ensemble(step("plain", {"IN": "A"}, {"OUT": "B"}), more="max_batch_size: 4"),
    ),
    sound(
        "ensemble_unbatched_of_batch",
        ensemble(step("batch", {"IN": "A"}, {"OUT": "B"}), of="TYPE_FP32 dims: [ -1, 4 ]"),
        asked=False,
    ),
    sound(
        "ensemble_decoupled",
        ensemble(step("decoupled", {"IN": "A"}, {"OUT": "X"}), step("plain", {"IN": "X"}, {"OUT": "B"})),
        asked=False,
    ),
    broken(
        "ensemble_same_outputs",
        "C30",
        ensemble(step("pair", {"IN0": "A", "IN1": "A"}, {"OUT0": "B", "OUT1": "B"})),
    ),
    Case(
        "ensemble_unnamed_input", ("C18", "C30"), ensemble(_AB, more="input { data_type: TYPE_FP32 dims: 4 }")
    ),
    Case("ensemble_no_dims", ("C18", "C30"), ensemble(_AB, of="TYPE_FP32")),
    sound(
        "warmup_text",
        'input { name: "IN" data_type: TYPE_STRING dims: 1 } model_warmup { name: "w" batch_size: 1 inputs { key: "IN" value { data_type: TYPE_STRING dims: 1 zero_data: true } } }',
        asked=False,
    ),
    sound(
        "warmup_batch",
        IO
        + 'max_batch_size: 4 model_warmup { name: "w" batch_size: 2 count: 3 inputs { key: "IN" value { data_type: TYPE_FP32 dims: 4 random_data: true } } }',
    ),
    broken(
        "warmup_batch_dims",
        "C32",
        IO
        + 'max_batch_size: 4 model_warmup { name: "w" batch_size: 1 inputs { key: "IN" value { data_type: TYPE_FP32 dims: [ 1, 4 ] zero_data: true } } }',
    ),
    sound(
        "warmup_optional",
        'input { name: "IN" data_type: TYPE_FP32 dims: 4 optional: true } model_warmup { name: "w" batch_size: 1 }',
    ),
    sound("latest_many", IO + "version_policy { latest { num_versions: 9 } }"),
    sound("version_minus", IO, {"1/": "", "-1/": ""}),
    sound("control_without_kind", IO + 'max_batch_size: 4 sequence_batching { control_input { name: "S" } }'),
    broken(
        "control_of_default_kind",
        "C26",
        IO + 'max_batch_size: 4 sequence_batching { control_input { name: "S" control { } } }',
    ),
]
#: All that one server serves.
TOGETHER = [
    *LAYOUT,
    *FRAMEWORK,
    *BATCHING,
    *TENSORS,
    *INSTANCES,
    *SEQUENCE,
    *(case for case in STATES if not case.rules),
    *HELPERS,
    *ENSEMBLE,
    *WARMUP,
    *SYNTAX,
    *MORE,
]
