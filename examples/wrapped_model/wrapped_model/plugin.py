"""A class that was written for Triton's Python backend, as a backend with a name, a signature and metrics."""

from typing import Any

from triton_backend_sdk import ModelInstance, Parameter, Request, Signature, TensorSpec, hookimpl
from triton_backend_sdk.python_backend import PythonModelPlugin

from .model import TritonPythonModel

SIGNATURE = Signature(
    inputs=[TensorSpec("READING", "FP32", [-1])],
    outputs=[TensorSpec("SCORE", "FP32", [-1])],
    max_batch_size=64,
    parameters=[
        Parameter("mean", float, 0.0, "What the readings are around."),
        Parameter("deviation", float, 1.0, "How far they usually are from it."),
    ],
)


class Plugin(PythonModelPlugin):
    """The hooks are those of the class that it wraps; it counts what passes."""

    model_class = TritonPythonModel

    @hookimpl
    def initialize(self, instance: ModelInstance) -> None:
        super().initialize(instance)
        self.rows = instance.model.metrics.counter("standardized_rows_total", "Rows that were asked for")

    @hookimpl
    def execute(self, requests: list[Request]) -> list[Any]:
        self.rows.increment(sum(request.batch_size for request in requests))
        return super().execute(requests)
