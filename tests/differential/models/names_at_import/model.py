import triton_python_backend_utils as pb_utils
from probes import Probes

FOUND = {
    name: hasattr(pb_utils, name)
    for name in ["Tensor", "InferenceRequest", "Logger", "ModelConfig", "TritonError"]
}


class TritonPythonModel(Probes):
    def found(self):
        return FOUND

    def found_later(self):
        return {name: hasattr(pb_utils, name) for name in FOUND}
