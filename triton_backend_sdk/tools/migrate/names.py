"""The names of ``triton_python_backend_utils``, what they give, and what becomes of them in process."""

from __future__ import annotations


def words(text: str) -> frozenset[str]:
    """Give the words of a text."""
    return frozenset(text.split())


MODULES = ("triton_python_backend_utils", "c_python_backend_utils")

#: Class to its members.
CLASSES: dict[str, frozenset[str]] = {
    name: frozenset(members.split())
    for name, members in {
        "InferenceRequest": """inputs request_id correlation_id flags set_flags timeout parameters trace exec
            async_exec requested_output_names get_response_sender is_cancelled set_release_flags""",
        "InferenceResponse": "output_tensors has_error error parameters",
        "InferenceResponseSender": "send is_cancelled",
        "InferenceTrace": "get_context",
        "Logger": "log log_info log_warn log_error log_verbose INFO WARNING ERROR VERBOSE LogLevel",
        "MemoryType": "TRITONSERVER_MEMORY_GPU TRITONSERVER_MEMORY_CPU",
        "Metric": "increment set observe value",
        "MetricFamily": "Metric COUNTER GAUGE HISTOGRAM",
        "MetricKind": "COUNTER GAUGE HISTOGRAM",
        "ModelConfig": """as_dict set_max_batch_size set_dynamic_batching add_input add_output
            set_model_transaction_policy""",
        "PreferredMemory": "",
        "ResponseIterator": "cancel",
        "Tensor": """name as_numpy triton_dtype to_dlpack is_cpu shape from_dlpack __dlpack__
            __dlpack_device__""",
        "TritonError": """code message UNKNOWN INTERNAL NOT_FOUND INVALID_ARG UNAVAILABLE UNSUPPORTED
            ALREADY_EXISTS CANCELLED""",
        "TritonModelException": "args with_traceback add_note",
    }.items()
}

FUNCTIONS = words(
    """get_input_tensor_by_name get_output_tensor_by_name get_input_config_by_name get_output_config_by_name
    using_decoupled_model_transaction_policy triton_to_numpy_type numpy_to_triton_type
    triton_string_to_numpy serialize_byte_tensor deserialize_bytes_tensor get_model_dir load_model
    unload_model is_model_ready"""
)

CONSTANTS = words(
    """TRITONSERVER_REQUEST_FLAG_SEQUENCE_START TRITONSERVER_REQUEST_FLAG_SEQUENCE_END
    TRITONSERVER_RESPONSE_COMPLETE_FINAL TRITONSERVER_REQUEST_RELEASE_ALL
    TRITONSERVER_REQUEST_RELEASE_RESCHEDULE TRITONSERVER_MEMORY_GPU TRITONSERVER_MEMORY_CPU
    TRITON_STRING_TO_NUMPY"""
)

#: What the stock backend's module holds besides, for its own use.
INTERNAL = frozenset(["shared_memory"])

#: What it imports itself, which some models take from there.
IMPORTED = frozenset(["json", "np", "struct"])

EVERY = frozenset(CLASSES) | FUNCTIONS | CONSTANTS | IMPORTED

#: Call to the kind of what it gives. A MadeTensor is one that the model made, a Tensor one that it got.
CALLS = {
    "get_input_tensor_by_name": "Tensor",
    "get_output_tensor_by_name": "Tensor",
    "get_input_config_by_name": "TensorConfig",
    "get_output_config_by_name": "TensorConfig",
    "Tensor": "MadeTensor",
    "Tensor.from_dlpack": "MadeTensor",
    **{name: name for name in ("InferenceRequest", "InferenceResponse", "MetricFamily", "TritonError")},
}

#: Method to the kind of what it gives.
METHODS = {
    "InferenceRequest.inputs": "list[Tensor]",
    "InferenceRequest.get_response_sender": "InferenceResponseSender",
    "InferenceRequest.exec": "InferenceResponse",
    "InferenceRequest.async_exec": "InferenceResponse",
    "InferenceRequest.trace": "InferenceTrace",
    "InferenceResponse.output_tensors": "list[Tensor]",
    "InferenceResponse.error": "TritonError",
    "MetricFamily.Metric": "Metric",
    "Tensor.as_numpy": "Array",
}

_ALONE = words(
    """async_exec correlation_id get_response_sender request_id requested_output_names set_release_flags
    output_tensors has_error as_numpy triton_dtype"""
)
#: Methods that nothing else has, so that a call of one says of what it is.
UNMISTAKABLE = {
    member: name
    for name in ("InferenceRequest", "InferenceResponse", "Tensor")
    for member in CLASSES[name]
    if member in _ALONE
}

#: What becomes of a name, where that is worth a word; the others do the same.
BECOMES = {
    "Tensor.as_numpy": "a view of Triton's memory; a private copy where the model writes into it",
    "Tensor.to_dlpack": "a view of Triton's memory",
    "Tensor": "copied once, into Triton's response",
    "InferenceRequest": "a call to another model, by pointer",
    "InferenceRequest.exec": "a call to another model, by pointer; also allowed in initialize",
    "InferenceRequest.async_exec": "a call to another model, without a thread of its own",
    "InferenceRequest.is_cancelled": "the same, in nanoseconds",
    "InferenceResponseSender.is_cancelled": "the same, in nanoseconds",
    "Metric.increment": "the same, without a round trip",
    "Metric.set": "the same, without a round trip",
    "Metric.observe": "the same, without a round trip",
    "serialize_byte_tensor": "the same; not needed for outputs",
    "deserialize_bytes_tensor": "the same; not needed for inputs",
}
SAME = "the same"


def class_of(kind: str) -> str:
    """Give the class whose members a kind has."""
    return "Tensor" if kind == "MadeTensor" else kind
