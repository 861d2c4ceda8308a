import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    initialize = None if False else (lambda self, args: None)

    def execute(self, requests):
        return [pb_utils.InferenceResponse([]) for _ in requests]
