import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            found = {name: pb_utils.get_input_tensor_by_name(request, name) for name in "ABC"}
            text = str(
                {
                    name: None if tensor is None else tensor.as_numpy().tolist()
                    for name, tensor in found.items()
                }
            )
            names = str([tensor.name() for tensor in request.inputs()])
            responses.append(
                pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.array([text, names], object))])
            )
        return responses
