"""Answer each request with its own input, 100 ms later."""

import asyncio

from triton_backend_sdk import Request, Response, hookimpl


@hookimpl
async def execute(request: Request) -> Response:
    """Wait, and let the others wait at the same time."""
    await asyncio.sleep(0.1)
    return Response({"OUT": request["IN"].numpy()})
