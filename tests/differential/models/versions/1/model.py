import beside_versions
import helper
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        self.version = args["model_version"]

    def execute(self, requests):
        texts = [__name__, self.version, helper.WORD, beside_versions.WORD]
        return [
            pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.array(texts, object))]) for _ in requests
        ]
