"""Calling a model with the stock Python backend, as its users write it: call_X passes its input on to X."""

from typing import Any

import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found]


class TritonPythonModel:
    """One object per model instance."""

    def initialize(self, args: dict[str, str]) -> None:
        """Find out whom to call."""
        self._callee = args["model_name"].removeprefix("call_")

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request with what the other model answers."""
        responses = []
        for request in requests:
            tensor = pb_utils.get_input_tensor_by_name(request, "IN")
            call = pb_utils.InferenceRequest(
                model_name=self._callee, inputs=[tensor], requested_output_names=["OUT"]
            )
            answer = call.exec()
            if answer.has_error():
                raise pb_utils.TritonModelException(answer.error().message())
            output = pb_utils.get_output_tensor_by_name(answer, "OUT")
            responses.append(pb_utils.InferenceResponse(output_tensors=[output]))
        return responses
