import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Answers a batch of four in one go: doubles, or fails, or raises, as each text says."""

    def execute(self, requests):
        whats = [
            pb_utils.get_input_tensor_by_name(request, "WHAT").as_numpy()[0, 0].decode()
            for request in requests
        ]
        responses = []
        for what in whats:
            if what == "raise":
                raise ValueError(f"one of {len(requests)}")
            if what == "error":
                error = pb_utils.TritonError("only this one", pb_utils.TritonError.UNAVAILABLE)
                responses.append(pb_utils.InferenceResponse(error=error))
            elif what == "wrong":
                responses.append(what)
            elif what == "short":
                pass
            else:
                tensor = pb_utils.Tensor("OUT", np.array([[len(requests)]], np.int32))
                responses.append(pb_utils.InferenceResponse([tensor]))
        return responses
