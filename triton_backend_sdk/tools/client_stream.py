"""One request to a decoupled model, and its responses as they come, through tritonclient's gRPC streams."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from queue import Empty, SimpleQueue
from typing import Any

from numpy.typing import NDArray

from triton_backend_sdk.tools.client import (
    InferResult,
    Parameter,
    as_arguments,
    connection,
    read_result,
    tensor_input,
)

#: The server's own parameter of a response that is the last.
_FINAL = "triton_final_response"


def stream(
    url: str,
    model: str,
    inputs: Mapping[str, NDArray[Any]],
    *,
    version: str = "",
    request_id: str = "",
    parameters: Mapping[str, Parameter] | None = None,
    timeout: float = 60.0,
) -> Iterator[InferResult]:
    """Send one request over gRPC and give each response; ``latency_ms`` counts from the request.

    Leaving the loop early cancels the request.

    :param timeout: seconds to wait for each response.
    :raises HandledError: as :func:`triton_backend_sdk.tools.client.infer`, also for an error half-way.
    """
    answers: SimpleQueue[tuple[Any, Any]] = SimpleQueue()
    over = False
    with connection(url, "grpc", timeout) as (api, client):
        tensors = [tensor_input(api, name, array) for name, array in inputs.items()]
        client.start_stream(lambda result, error: answers.put((result, error)))
        start = time.perf_counter()
        client.async_stream_infer(
            model,
            tensors,
            model_version=version,
            request_id=request_id,
            **as_arguments(parameters or {}),
            enable_empty_final_response=True,
        )
        try:
            while not over:
                try:
                    result, error = answers.get(timeout=timeout)
                except Empty:
                    raise TimeoutError from None
                over = error is not None
                if error is not None:
                    raise error
                found = read_result(result, "grpc", (time.perf_counter() - start) * 1e3)
                over = found.parameters.pop(_FINAL, False) is True
                # An empty response that is the last is the server's way to say so, unless it has parameters.
                if found.outputs or found.parameters or not over:
                    yield found
        finally:
            # Not when it is over: Triton 24.10 would keep the model for ever.
            client.stop_stream(cancel_requests=not over)
