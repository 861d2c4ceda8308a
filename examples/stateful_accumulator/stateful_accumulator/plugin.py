"""SUM and MEAN of all the values that a sequence has sent so far; Triton keeps them in between."""

import numpy as np

from triton_backend_sdk import InvalidArgError, Request, Response, hookimpl


@hookimpl
def execute(requests: list[Request]) -> list[Response | InvalidArgError]:
    return [add(request) for request in requests]


def add(request: Request) -> Response | InvalidArgError:
    values = request["VALUES"].numpy()
    if not np.isfinite(values).all():
        # The state stays as it was: the client may go on with its sequence.
        return InvalidArgError("VALUES must be finite")
    total, count = request["TOTAL_IN"].numpy()
    new = request.state("TOTAL_OUT", [2]).numpy()  # Triton's buffer: the next request's TOTAL_IN
    new[:] = total + values.sum(), count + values.size
    return Response({"SUM": new[:1], "MEAN": new[:1] / max(new[1], 1)})
