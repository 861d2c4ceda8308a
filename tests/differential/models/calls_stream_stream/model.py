import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """A decoupled model that passes on what another decoupled model sends."""

    def execute(self, requests):
        for request in requests:
            sender = request.get_response_sender()
            inner = pb_utils.InferenceRequest(
                model_name="callee_stream", requested_output_names=["OUT"], inputs=request.inputs()
            )
            for response in inner.exec(decoupled=True):
                if response.has_error():
                    sender.send(pb_utils.InferenceResponse(error=response.error()))
                elif response.output_tensors():
                    array = response.output_tensors()[0].as_numpy() * 10
                    sender.send(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", array.astype(np.int32))]))
            sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
