import numpy as np
import triton_python_backend_utils as pb_utils
from probes import Probes


def tensor(name="T"):
    return pb_utils.Tensor(name, np.zeros(1, np.int8))


class TritonPythonModel(Probes):
    def nothing(self):
        response = pb_utils.InferenceResponse()
        return response.output_tensors(), response.has_error(), response.error()

    def tensors(self):
        response = pb_utils.InferenceResponse([tensor(), tensor("U")])
        return [t.name() for t in response.output_tensors()], response.has_error()

    def keywords(self):
        error = pb_utils.TritonError("bad")
        response = pb_utils.InferenceResponse(output_tensors=[], error=error)
        return response.has_error(), response.error().message()

    def positional_error(self):
        return pb_utils.InferenceResponse([], pb_utils.TritonError("bad")).error().message()

    def tensors_none(self):
        return pb_utils.InferenceResponse(None)

    def tensors_with_none(self):
        return pb_utils.InferenceResponse([None])

    def tensors_array(self):
        return pb_utils.InferenceResponse(np.zeros(1))

    def tensors_arrays(self):
        return pb_utils.InferenceResponse([np.zeros(1)])

    def one_tensor(self):
        return pb_utils.InferenceResponse(tensor())

    def tensors_tuple(self):
        return len(pb_utils.InferenceResponse((tensor(),)).output_tensors())

    def tensors_generator(self):
        return pb_utils.InferenceResponse(t for t in [tensor()])

    def tensors_dict(self):
        return pb_utils.InferenceResponse({"T": tensor()})

    def error_text(self):
        return pb_utils.InferenceResponse([], "bad")

    def error_exception(self):
        return pb_utils.InferenceResponse([], ValueError("bad"))

    def error_model_exception(self):
        return pb_utils.InferenceResponse([], pb_utils.TritonModelException("bad"))

    def unknown_keyword(self):
        return pb_utils.InferenceResponse(outputs=[])

    def with_parameters(self):
        response = pb_utils.InferenceResponse([], parameters={"b": 1, "a": "x", "c": True})
        return response.parameters()

    def without_parameters(self):
        return pb_utils.InferenceResponse([]).parameters()

    def parameters_list(self):
        return pb_utils.InferenceResponse([], parameters=[1])

    def parameters_int_key(self):
        return pb_utils.InferenceResponse([], parameters={1: 1})

    def parameters_bytes(self):
        return pb_utils.InferenceResponse([], parameters={"a": b"x"})

    def changed_list(self):
        tensors = [tensor()]
        response = pb_utils.InferenceResponse(tensors)
        tensors.append(tensor("U"))
        return len(response.output_tensors())

    def changed_result(self):
        response = pb_utils.InferenceResponse([tensor()])
        response.output_tensors().append(tensor("U"))
        return len(response.output_tensors())

    def same_tensor(self):
        t = tensor()
        return pb_utils.InferenceResponse([t]).output_tensors()[0] is t

    def error_default_code(self):
        error = pb_utils.TritonError("bad")
        return error.message(), error.code() == pb_utils.TritonError.INTERNAL, int(error.code())

    def error_with_code(self):
        error = pb_utils.TritonError("bad", pb_utils.TritonError.NOT_FOUND)
        return int(error.code()), str(error.code())

    def error_keywords(self):
        error = pb_utils.TritonError(message="bad", code=pb_utils.TritonError.CANCELLED)
        return error.message(), int(error.code())

    def error_int_code(self):
        return pb_utils.TritonError("bad", 5)

    def error_none(self):
        return pb_utils.TritonError(None)

    def error_of_exception(self):
        return pb_utils.TritonError(ValueError("x"))

    def error_of_int(self):
        return pb_utils.TritonError(5)

    def error_nothing(self):
        return pb_utils.TritonError()

    def error_empty(self):
        return pb_utils.TritonError("").message()

    def error_unicode(self):
        return pb_utils.TritonError("schlecht ü ✓").message()

    def error_bytes(self):
        return pb_utils.TritonError(b"bad").message()

    def error_code_none(self):
        return pb_utils.TritonError("bad", None)

    def raise_error(self):
        raise pb_utils.TritonError("bad")

    def error_is_exception(self):
        return issubclass(pb_utils.TritonError, BaseException)

    def code_compared(self):
        error = pb_utils.TritonError
        return (
            error.INTERNAL == 1,
            error.INTERNAL != error.UNKNOWN,
            hash(error.INTERNAL) == hash(error.INTERNAL),
        )

    def codes_written(self):
        pb_utils.TritonError.INTERNAL = 5
