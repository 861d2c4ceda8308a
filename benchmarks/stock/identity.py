"""Identity for the stock Python backend, as its users write it."""

from typing import Any

import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found]


class TritonPythonModel:
    """One object per model instance."""

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request with its own input."""
        responses = []
        for request in requests:
            tensor = pb_utils.get_input_tensor_by_name(request, "IN")
            output = pb_utils.Tensor("OUT", tensor.as_numpy())
            responses.append(pb_utils.InferenceResponse(output_tensors=[output]))
        return responses
