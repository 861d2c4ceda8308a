"""A model for Triton's Python backend: the output is the input, doubled."""

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """What Triton calls."""

    def initialize(self, args):
        """Load what the model needs; args has its folder, its config and the device."""
        self.factor = 2

    def execute(self, requests):
        """Give one response for each request, in their order."""
        responses = []
        for request in requests:
            array = pb_utils.get_input_tensor_by_name(request, "INPUT").as_numpy()
            output = pb_utils.Tensor("OUTPUT", array * self.factor)
            responses.append(pb_utils.InferenceResponse(output_tensors=[output]))
        return responses

    def finalize(self):
        """Let go of what initialize took."""
