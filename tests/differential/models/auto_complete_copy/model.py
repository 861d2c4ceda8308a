import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Changes the dict itself, which works too; of what Triton does not take, nothing comes of it."""

    @staticmethod
    def auto_complete_config(config):
        fields = config.as_dict()
        fields["input"] = [
            {"name": "IN", "data_type": "TYPE_FP32", "dims": [4], "reshape": {"shape": [2, 2]}}
        ]
        fields["output"].append({"name": "OUT", "data_type": "TYPE_FP32", "dims": [2, 2]})
        fields["parameters"] = {"new": {"string_value": "value"}}
        fields["instance_group"] = [{"count": 3, "kind": "KIND_CPU"}]
        return config

    def execute(self, requests):
        return [
            pb_utils.InferenceResponse([pb_utils.Tensor("OUT", r.inputs()[0].as_numpy())]) for r in requests
        ]
