import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Keeps the array of its input, and gives it as its output."""

    def initialize(self, args):
        self.kept = []

    def execute(self, requests):
        responses = []
        for request in requests:
            self.kept.append(request.inputs()[0].as_numpy())
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", self.kept[-1])]))
        return responses
