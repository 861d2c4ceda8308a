import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """A step of an ensemble: one more word, or an error."""

    def execute(self, requests):
        responses = []
        for request in requests:
            words = request.inputs()[0].as_numpy()
            if words[0] == b"fail":
                responses.append(
                    pb_utils.InferenceResponse(
                        error=pb_utils.TritonError("in a step", pb_utils.TritonError.UNSUPPORTED)
                    )
                )
                continue
            tensor = pb_utils.Tensor("OUT", np.append(words, [f"{len(words)} words".encode()]).astype(object))
            responses.append(
                pb_utils.InferenceResponse(
                    [tensor],
                )
            )
        return responses
