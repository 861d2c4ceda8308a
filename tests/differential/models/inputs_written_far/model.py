import helper
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Ways to write that are hard to see: in a helper, through a method, through out=."""

    def execute(self, requests):
        responses = []
        for request in requests:
            arrays = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
            helper.spoil(arrays["A"])
            arrays["B"].sort()
            np.add(arrays["C"], 1, out=arrays["C"])
            arrays["D"].fill(7)
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor(n, arrays[n]) for n in "ABCD"]))
        return responses
