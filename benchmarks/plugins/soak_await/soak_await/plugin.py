"""Model await_X waits a moment, then passes its input on to model X, and X's answer back."""

import asyncio

from triton_backend_sdk import ModelInstance, Request, Response, hookimpl


@hookimpl
async def execute(instance: ModelInstance, request: Request) -> Response:
    """Wait, call, and let the others do so at the same time."""
    model = instance.model
    await asyncio.sleep(0.002)
    answer = await model.server.infer_async(model.name.removeprefix("await_"), {"IN": request["IN"]})
    return Response({"OUT": answer["OUT"]})
