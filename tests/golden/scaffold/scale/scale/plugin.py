"""OUT = scale * IN, where `scale` is a parameter of the model (see its config.pbtxt)."""

import numpy as np

from triton_backend_sdk import Model, ModelInstance, Request, Response, hookimpl


@hookimpl
def model_initialize(model: Model) -> None:
    # Runs once when the model is loaded: the place for weights and settings, which all its instances share.
    # What is raised here makes the model UNAVAILABLE, with the exception's message.
    model.state.scale = model.parameters.get_float("scale", 1.0)


@hookimpl
def execute(instance: ModelInstance, requests: list[Request]) -> list[Response]:
    # Runs once for each batch that Triton has formed; one response per request, in order.
    return [multiply(request, instance.model.state.scale) for request in requests]


def multiply(request: Request, scale: float) -> Response:
    # Nothing is copied: x is a read-only view of the bytes that Triton received, out one of those it sends.
    x = request["IN"].numpy()
    out = request.output("OUT", x.shape)
    np.multiply(x, scale, out=out.numpy())
    return Response({"OUT": out})  # or any array: Response({"OUT": scale * x}), at the price of one copy
