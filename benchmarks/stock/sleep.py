"""Waiting with the stock Python backend: many at a time only as `async def` in a decoupled model."""

import asyncio
from typing import Any

import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found]


class TritonPythonModel:
    """One object per model instance."""

    async def execute(self, requests: list[Any]) -> None:
        """Answer each request with its own input, after 100 ms."""
        await asyncio.gather(*(self._answer(request) for request in requests))

    async def _answer(self, request: Any) -> None:
        await asyncio.sleep(0.1)
        tensor = pb_utils.get_input_tensor_by_name(request, "IN")
        output = pb_utils.Tensor("OUT", tensor.as_numpy())
        request.get_response_sender().send(
            pb_utils.InferenceResponse(output_tensors=[output]),
            flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL,
        )
