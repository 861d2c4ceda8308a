import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Gives each input back, and tells what it was."""

    def execute(self, requests):
        responses = []
        for request in requests:
            tensors = [
                pb_utils.Tensor("OUT" + tensor.name()[2:], tensor.as_numpy()) for tensor in request.inputs()
            ]
            responses.append(pb_utils.InferenceResponse(tensors))
        return responses
