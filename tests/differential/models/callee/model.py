import json

import numpy as np
import triton_python_backend_utils as pb_utils

CODES = [
    "UNKNOWN",
    "INTERNAL",
    "NOT_FOUND",
    "INVALID_ARG",
    "UNAVAILABLE",
    "UNSUPPORTED",
    "ALREADY_EXISTS",
    "CANCELLED",
]


class TritonPythonModel:
    """Called by others: echoes, tells of the request, or fails."""

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        array = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()
        first = array[0].decode() if array.size else ""
        if first == "raise":
            raise ValueError("in the callee")
        if first in CODES:
            return pb_utils.InferenceResponse(
                error=pb_utils.TritonError(f"as {first}", getattr(pb_utils.TritonError, first))
            )
        told = {
            "parameters": json.loads(request.parameters()),
            "id": request.request_id(),
            "correlation": request.correlation_id(),
            "flags": request.flags(),
            "timeout": request.timeout(),
            "outputs": sorted(request.requested_output_names()),
        }
        return pb_utils.InferenceResponse(
            [
                pb_utils.Tensor("OUT", array),
                pb_utils.Tensor("TOLD", np.array([json.dumps(told, sort_keys=True)], object)),
            ]
        )
