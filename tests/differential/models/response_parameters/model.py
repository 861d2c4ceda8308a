import numpy as np
import triton_python_backend_utils as pb_utils

PARAMETERS = {
    "all": {"text": "ü", "int": 5, "negative": -7, "true": True, "false": False, "empty": ""},
    "empty": {},
    "big": {"big": 2**63 - 1},
    "too_big": {"big": 2**63},
    "float": {"float": 1.5},
    "list": {"list": [1]},
    "none": None,
    "none_value": {"a": None},
    "own_name": {"triton_final_response": False},
}


class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            what = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()[0].decode()
            tensor = pb_utils.Tensor("OUT", np.array(["x"], object))
            responses.append(pb_utils.InferenceResponse([tensor], parameters=PARAMETERS[what]))
        return responses
