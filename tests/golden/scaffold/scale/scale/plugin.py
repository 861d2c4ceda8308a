"""OUT = scale * IN, where `scale` is a parameter of the model (see its config.pbtxt)."""

import numpy as np

from triton_backend_sdk import Model, ModelInstance, Request, Response, hookimpl


@hookimpl
def model_initialize(model: Model) -> None:
    # Runs once when the model is loaded: the place for weights and settings that all instances share.
    # Whatever is raised here makes the model UNAVAILABLE, with this message.
    model.state = model.parameters.get_float("scale", 1.0)


@hookimpl
def execute(instance: ModelInstance, requests: list[Request]) -> list[Response]:
    # Runs once per batch that Triton has formed, and answers every request of it, in order.
    return [scale(request, instance.model.state) for request in requests]


def scale(request: Request, factor: float) -> Response:
    x = request["IN"].numpy()  # a read-only view of Triton's own input buffer: nothing was copied
    out = request.output("OUT", x.shape)  # Triton's own response buffer: what is written there is sent
    np.multiply(x, factor, out=out.numpy())
    return Response({"OUT": out})
