import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Writes into its inputs, and keeps them."""

    kept = None

    def execute(self, requests):
        responses = []
        for request in requests:
            array = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()
            array += 1
            array[0] = 100
            again = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()
            responses.append(
                pb_utils.InferenceResponse(
                    [
                        pb_utils.Tensor("OUT", array),
                        pb_utils.Tensor("AGAIN", again),
                        pb_utils.Tensor("HALF", array[::2]),
                    ]
                )
            )
        return responses
