"""OUT = scale * IN; `scale` is a parameter of the model, see its config.pbtxt."""

import numpy as np

from triton_backend_sdk import (
    DynamicBatching,
    Model,
    ModelInstance,
    Parameter,
    Request,
    Response,
    Signature,
    TensorSpec,
    hookimpl,
)

SCALE = Parameter("scale", float, 1.0, "What IN is multiplied by.")

# What a model takes and gives. Triton refuses requests that do not fit, so the
# hooks need not look. A client sends IN as [batch, n]; requests that wait at the
# same time become one batch of up to 64 rows.
SIGNATURE = Signature(
    inputs=[TensorSpec("IN", "FP32", [-1])],
    outputs=[TensorSpec("OUT", "FP32", [-1])],
    max_batch_size=64,
    dynamic_batching=DynamicBatching(),
    parameters=[SCALE],
)


@hookimpl
def model_initialize(model: Model) -> None:
    # Once, when the model is loaded: the place for weights and settings, which
    # all its instances share. What is raised here makes the model UNAVAILABLE.
    model.state.scale = model.parameters.read(SCALE)


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
