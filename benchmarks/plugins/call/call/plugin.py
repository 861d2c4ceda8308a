"""Model call_X passes its input on to model X, and X's answer back."""

from triton_backend_sdk import ModelInstance, Request, Response, hookimpl


@hookimpl
def execute(instance: ModelInstance, request: Request) -> Response:
    """Call the other model, and wait for it."""
    model = instance.model
    answer = model.server.infer(model.name.removeprefix("call_"), {"IN": request["IN"]})
    return Response({"OUT": answer["OUT"]})
