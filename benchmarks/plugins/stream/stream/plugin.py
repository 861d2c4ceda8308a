"""Answer an int n with 0, 1, ... n - 1."""

from collections.abc import Iterator

import numpy as np

from triton_backend_sdk import Request, Response, hookimpl


@hookimpl
def execute(request: Request) -> Iterator[Response]:
    """Send each answer as soon as it is there."""
    for index in range(request["IN"].numpy()[0]):
        yield Response({"OUT": np.array([index], np.int32)})
