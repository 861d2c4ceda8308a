import json
import os

import triton_python_backend_utils as pb_utils
from probes import Probes


class TritonPythonModel(Probes):
    def keys(self):
        return sorted(self.args), {type(value).__name__ for value in self.args.values()}

    def values(self):
        return {key: value for key, value in sorted(self.args.items()) if key != "model_config"}

    def config(self):
        config = json.loads(self.args["model_config"])
        # A map has no order.
        return {**config, "parameters": sorted(config["parameters"])}

    def config_keys(self):
        return list(json.loads(self.args["model_config"]))

    def parameters(self):
        return sorted(json.loads(self.args["model_config"])["parameters"].items())

    def config_of_tensors(self):
        config = json.loads(self.args["model_config"])
        found = (
            pb_utils.get_input_config_by_name(config, "IN"),
            pb_utils.get_output_config_by_name(config, "OUT"),
        )
        return found, pb_utils.using_decoupled_model_transaction_policy(config)

    def model_dir(self):
        return pb_utils.get_model_dir(), os.path.isfile(os.path.join(pb_utils.get_model_dir(), "model.py"))

    def repository(self):
        return sorted(os.listdir(self.args["model_repository"]))
