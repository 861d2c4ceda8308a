import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Passes its input on through a model that itself calls another, and its error as it is."""

    def initialize(self, args):
        self.name = args["model_name"]

    def execute(self, requests):
        responses = []
        for request in requests:
            inner = pb_utils.InferenceRequest(
                model_name="calls_passing",
                requested_output_names=["OUT"],
                inputs=request.inputs(),
                request_id=request.request_id(),
                parameters={"from": self.name},
            )
            answer = inner.exec()
            if answer.has_error():
                responses.append(pb_utils.InferenceResponse(error=answer.error()))
            else:
                responses.append(pb_utils.InferenceResponse(output_tensors=answer.output_tensors()))
        return responses
