"""OUT = scale * IN; `scale` is a parameter of the model, see its config.pbtxt."""

import numpy as np

from triton_backend_sdk import Model, ModelInstance, Request, Response, hookimpl


@hookimpl
def model_initialize(model: Model) -> None:
    # Once, when the model is loaded: the place for weights and settings, which
    # all its instances share. What is raised here makes the model UNAVAILABLE.
    model.state.scale = model.parameters.get_float("scale", 1.0)


@hookimpl
def execute(instance: ModelInstance, requests: list[Request]) -> list[Response]:
    # For each batch that Triton has formed: one response per request, in order.
    scale = instance.model.state.scale
    return [multiply(request, scale) for request in requests]


def multiply(request: Request, scale: float) -> Response:
    # Nothing is copied: x is a read-only view of what Triton received, and out
    # a view of what it sends.
    x = request["IN"].numpy()
    out = request.output("OUT", x.shape)
    np.multiply(x, scale, out=out.numpy())
    return Response({"OUT": out})  # any array will do, at the price of one copy
