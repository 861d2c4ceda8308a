import threading

import helper
import numpy as np
import triton_python_backend_utils as pb_utils

seen = []


class TritonPythonModel:
    """Globals of model.py and of a helper belong to one instance alone."""

    def execute(self, requests):
        responses = []
        for _ in requests:
            seen.append(1)
            helper.calls.append(1)
            # Long enough that the next request goes to the other instance.
            threading.Event().wait(0.3)
            text = f"{len(seen)} {len(helper.calls)}"
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.array([text], object))]))
        return responses
