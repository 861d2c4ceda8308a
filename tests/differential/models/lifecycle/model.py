import triton_python_backend_utils as pb_utils

log = pb_utils.ModelConfig and print


class TritonPythonModel:
    def __init__(self):
        self.steps = ["constructed"]

    def initialize(self, args):
        self.steps.append("initialized")
        pb_utils.Logger.log_info(f"diff-life: {self.steps}")

    def execute(self, requests):
        self.steps.append("executed")
        return [pb_utils.InferenceResponse([]) for _ in requests]

    def finalize(self):
        self.steps.append("finalized")
        pb_utils.Logger.log_info(f"diff-life: {self.steps}")
