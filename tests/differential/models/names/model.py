import inspect

import triton_python_backend_utils as pb_utils
from probes import Probes


class TritonPythonModel(Probes):
    def module(self):
        return pb_utils.__name__, inspect.ismodule(pb_utils)

    def functions(self):
        return [
            callable(getattr(pb_utils, name))
            for name in [
                "get_input_tensor_by_name",
                "get_output_tensor_by_name",
                "get_input_config_by_name",
                "get_output_config_by_name",
                "using_decoupled_model_transaction_policy",
                "triton_to_numpy_type",
                "numpy_to_triton_type",
                "triton_string_to_numpy",
                "serialize_byte_tensor",
                "deserialize_bytes_tensor",
                "get_model_dir",
                "load_model",
                "unload_model",
            ]
        ]

    def classes(self):
        return {
            name: inspect.isclass(getattr(pb_utils, name, None))
            for name in [
                "Tensor",
                "InferenceRequest",
                "InferenceResponse",
                "TritonError",
                "TritonModelException",
                "PreferredMemory",
                "Logger",
                "MetricFamily",
                "ModelConfig",
            ]
        }

    def classes_of_c(self):
        import c_python_backend_utils as c

        return {
            name: inspect.isclass(getattr(c, name, None))
            for name in [
                "Tensor",
                "InferenceRequest",
                "InferenceResponse",
                "InferenceResponseSender",
                "ResponseIterator",
                "TritonError",
                "TritonModelException",
                "PreferredMemory",
                "InferenceTrace",
                "Logger",
                "MetricFamily",
                "Metric",
            ]
        }

    def more_classes(self):
        names = "InferenceResponseSender ResponseIterator InferenceTrace Metric"
        return [inspect.isclass(getattr(pb_utils, name, None)) for name in names.split()]

    def methods_of_tensor(self):
        return missing(
            pb_utils.Tensor,
            "as_numpy from_dlpack is_cpu name shape to_dlpack triton_dtype __dlpack__ __dlpack_device__",
        )

    def methods_of_request(self):
        return missing(
            pb_utils.InferenceRequest,
            "async_exec correlation_id exec flags get_response_sender inputs is_cancelled parameters request_id requested_output_names set_flags set_release_flags timeout trace",
        )

    def methods_of_response(self):
        return missing(pb_utils.InferenceResponse, "error has_error output_tensors")

    def methods_of_sender(self):
        return missing(c_module().InferenceResponseSender, "is_cancelled send")

    def methods_of_iterator(self):
        return missing(c_module().ResponseIterator, "__iter__ __next__")

    def methods_of_error(self):
        return missing(
            pb_utils.TritonError,
            "ALREADY_EXISTS CANCELLED INTERNAL INVALID_ARG NOT_FOUND UNAVAILABLE UNKNOWN UNSUPPORTED code message",
        )

    def methods_of_trace(self):
        return missing(c_module().InferenceTrace, "get_context")

    def methods_of_logger(self):
        return missing(
            pb_utils.Logger, "ERROR INFO LogLevel VERBOSE WARNING log log_error log_info log_verbose log_warn"
        )

    def methods_of_family(self):
        return missing(pb_utils.MetricFamily, "COUNTER GAUGE HISTOGRAM Metric")

    def methods_of_metric(self):
        return missing(c_module().Metric, "increment observe set value")

    def methods_of_model_config(self):
        return missing(
            pb_utils.ModelConfig,
            "add_input add_output as_dict set_dynamic_batching set_max_batch_size set_model_transaction_policy",
        )

    def constants(self):
        return [
            getattr(pb_utils, name)
            for name in [
                "TRITONSERVER_REQUEST_FLAG_SEQUENCE_START",
                "TRITONSERVER_REQUEST_FLAG_SEQUENCE_END",
                "TRITONSERVER_RESPONSE_COMPLETE_FINAL",
                "TRITONSERVER_REQUEST_RELEASE_ALL",
                "TRITONSERVER_REQUEST_RELEASE_RESCHEDULE",
            ]
        ]

    def memory_constants(self):
        return int(pb_utils.TRITONSERVER_MEMORY_GPU), int(pb_utils.TRITONSERVER_MEMORY_CPU)

    def memory_repr(self):
        return str(pb_utils.TRITONSERVER_MEMORY_CPU), repr(pb_utils.TRITONSERVER_MEMORY_GPU)

    def memory_other_names(self):
        return pb_utils.MemoryType.TRITONSERVER_MEMORY_CPU == pb_utils.TRITONSERVER_MEMORY_CPU

    def metric_kinds(self):
        family = pb_utils.MetricFamily
        return [int(kind) for kind in (family.COUNTER, family.GAUGE)]

    def metric_kinds_elsewhere(self):
        return pb_utils.MetricKind.COUNTER == pb_utils.MetricFamily.COUNTER

    def histogram(self):
        return int(pb_utils.MetricFamily.HISTOGRAM)

    def log_levels(self):
        logger = pb_utils.Logger
        return [int(level) for level in (logger.INFO, logger.WARNING, logger.ERROR, logger.VERBOSE)]

    def log_level_class(self):
        return pb_utils.Logger.LogLevel.INFO == pb_utils.Logger.INFO, str(pb_utils.Logger.ERROR)

    def error_codes(self):
        error = pb_utils.TritonError
        names = "UNKNOWN INTERNAL NOT_FOUND INVALID_ARG UNAVAILABLE UNSUPPORTED ALREADY_EXISTS CANCELLED"
        return [int(getattr(error, name)) for name in names.split()]

    def error_code_text(self):
        return str(pb_utils.TritonError.NOT_FOUND), pb_utils.TritonError.NOT_FOUND.name

    def string_to_numpy(self):
        return {name: kind.__name__ for name, kind in pb_utils.TRITON_STRING_TO_NUMPY.items()}

    def string_to_numpy_is_a_dict(self):
        return type(pb_utils.TRITON_STRING_TO_NUMPY)

    def numpy_of_module(self):
        return pb_utils.np.__name__, pb_utils.json.__name__, pb_utils.struct.__name__

    def is_model_ready(self):
        return pb_utils.is_model_ready("names")

    def no_such_name(self):
        return pb_utils.no_such_name

    def star(self):
        scope = {}
        exec("from triton_python_backend_utils import *", scope)
        wanted = "Tensor InferenceRequest InferenceResponse TritonError get_input_tensor_by_name Logger"
        return [name in scope for name in wanted.split()]

    def c_module(self):
        import c_python_backend_utils as c

        names = "Tensor InferenceRequest InferenceResponse TritonError Logger MetricFamily PreferredMemory"
        return [getattr(c, name) is getattr(pb_utils, name) for name in names.split()]

    def c_module_more(self):
        from c_python_backend_utils import InferenceRequest, Tensor, TritonModelException

        return [cls.__module__ for cls in (InferenceRequest, Tensor, TritonModelException)]

    def class_names(self):
        return [
            cls.__qualname__ for cls in (pb_utils.Tensor, pb_utils.InferenceRequest, pb_utils.TritonError)
        ]

    def modules_of_classes(self):
        return [cls.__module__ for cls in (pb_utils.Tensor, pb_utils.InferenceResponse, pb_utils.ModelConfig)]

    def exception_bases(self):
        return [cls.__name__ for cls in pb_utils.TritonModelException.__mro__]

    def exception_raised(self):
        raise pb_utils.TritonModelException("text")

    def model_dir(self):
        return pb_utils.get_model_dir()

    def model_dir_argument(self):
        return pb_utils.get_model_dir("x")


def c_module():
    import c_python_backend_utils

    return c_python_backend_utils


def missing(cls, names):
    """The names that the class does not have."""
    return [name for name in names.split() if not hasattr(cls, name)]
