import json

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        config = json.loads(args["model_config"])
        self.kinds = [
            pb_utils.triton_string_to_numpy(pb_utils.get_output_config_by_name(config, name)["data_type"])
            for name in ("SUM", "DIFFERENCE")
        ]

    def execute(self, requests):
        responses = []
        for request in requests:
            a = pb_utils.get_input_tensor_by_name(request, "A").as_numpy()
            b = pb_utils.get_input_tensor_by_name(request, "B").as_numpy()
            results = [a + b, a - b]
            tensors = [
                pb_utils.Tensor(name, result.astype(kind))
                for name, result, kind in zip(("SUM", "DIFFERENCE"), results, self.kinds)
            ]
            responses.append(pb_utils.InferenceResponse(output_tensors=tensors))
        return responses
