import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Gives the callee's response as its own, and raises what it says."""

    def execute(self, requests):
        responses = []
        for request in requests:
            inner = pb_utils.InferenceRequest(
                model_name="callee",
                requested_output_names=["OUT"],
                inputs=request.inputs(),
            )
            answer = inner.exec()
            if answer.has_error() and answer.error().code() == pb_utils.TritonError.INTERNAL:
                raise pb_utils.TritonModelException(answer.error().message())
            responses.append(answer)
        return responses
