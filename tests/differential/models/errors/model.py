import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """An error with the code, or the outputs, that the text asks for."""

    def execute(self, requests):
        responses = []
        for request in requests:
            what = pb_utils.get_input_tensor_by_name(request, "WHAT").as_numpy()[0].decode()
            tensor = pb_utils.Tensor("OUT", np.array([1], np.int32))
            if what == "with_outputs":
                response = pb_utils.InferenceResponse([tensor], error=pb_utils.TritonError("with outputs"))
            elif what == "empty":
                response = pb_utils.InferenceResponse(error=pb_utils.TritonError(""))
            elif what == "no_code":
                response = pb_utils.InferenceResponse(error=pb_utils.TritonError("no code ü"))
            elif what == "good":
                response = pb_utils.InferenceResponse([tensor])
            elif what == "long":
                response = pb_utils.InferenceResponse(error=pb_utils.TritonError("x" * 5000))
            else:
                error = pb_utils.TritonError(f"of code {what}", getattr(pb_utils.TritonError, what))
                response = pb_utils.InferenceResponse(output_tensors=[], error=error)
            responses.append(response)
        return responses
