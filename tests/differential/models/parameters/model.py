import json

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Tells of a request all that is not a tensor."""

    def execute(self, requests):
        responses = []
        for request in requests:
            told = {
                "parameters": json.loads(request.parameters()),
                "kind": type(request.parameters()).__name__,
                "id": request.request_id(),
                "correlation": request.correlation_id(),
                "flags": request.flags(),
                "timeout": request.timeout(),
                "outputs": sorted(request.requested_output_names()),
                "cancelled": request.is_cancelled(),
                "trace": request.trace().get_context(),
            }
            tensor = pb_utils.Tensor("OUT", np.array([json.dumps(told, sort_keys=True)], object))
            responses.append(pb_utils.InferenceResponse([tensor]))
        return responses
