"""Streaming with the stock Python backend, as its users write it: n is answered with 0, 1, ... n - 1."""

from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found]


class TritonPythonModel:
    """One object per model instance."""

    def execute(self, requests: list[Any]) -> None:
        """Send each answer as soon as it is there, then the final flag."""
        for request in requests:
            sender = request.get_response_sender()
            count = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()[0]
            for index in range(count):
                output = pb_utils.Tensor("OUT", np.array([index], np.int32))
                sender.send(pb_utils.InferenceResponse(output_tensors=[output]))
            sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
