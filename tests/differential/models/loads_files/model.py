import base64
import json

import triton_python_backend_utils as pb_utils
from probes import Probes

CONFIG = {
    "backend": "python",
    "max_batch_size": 0,
    "input": [{"name": "IN", "data_type": "TYPE_STRING", "dims": [-1]}],
    "output": [{"name": "OUT", "data_type": "TYPE_STRING", "dims": [-1]}],
}
SOURCE = b"""
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.array(["from a file"], object))]) for _ in requests]
"""


class TritonPythonModel(Probes):
    """Loads and unloads the model `loaded_files`."""

    def load_it(self):
        return pb_utils.load_model(model_name="loaded_files")

    def call(self):
        import numpy as np

        request = pb_utils.InferenceRequest(
            model_name="loaded_files",
            requested_output_names=["OUT"],
            inputs=[pb_utils.Tensor("IN", np.array(["x"], object))],
        )
        response = request.exec()
        return (
            response.error().message()
            if response.has_error()
            else response.output_tensors()[0].as_numpy().tolist()
        )

    def ready(self):
        return pb_utils.is_model_ready("loaded_files")

    def ready_version(self):
        return pb_utils.is_model_ready("loaded_files", "1"), pb_utils.is_model_ready(
            model_name="loaded_files", model_version="2"
        )

    def ready_wrong_version(self):
        return pb_utils.is_model_ready("loaded_files", "one")

    def ready_negative_version(self):
        return pb_utils.is_model_ready("loaded_files", "-1")

    def ready_unknown(self):
        return pb_utils.is_model_ready("no_such_model")

    def ready_none(self):
        return pb_utils.is_model_ready(None)

    def load_unknown(self):
        return pb_utils.load_model("no_such_model")

    def load_config(self):
        config = {**CONFIG, "parameters": {"word": {"string_value": "of the config"}}}
        return pb_utils.load_model("loaded_files", json.dumps(config))

    def load_config_keyword(self):
        config = {**CONFIG, "parameters": {"word": {"string_value": "by keyword"}}}
        return pb_utils.load_model(model_name="loaded_files", config=json.dumps(config))

    def load_wrong_config(self):
        return pb_utils.load_model("loaded_files", "{")

    def load_config_dict(self):
        return pb_utils.load_model("loaded_files", CONFIG)

    def load_files(self):
        return pb_utils.load_model("loaded_files", json.dumps(CONFIG), {"1/model.py": SOURCE})

    def load_files_prefixed(self):
        return pb_utils.load_model("loaded_files", json.dumps(CONFIG), {"file:1/model.py": SOURCE})

    def load_files_without_config(self):
        return pb_utils.load_model("loaded_files", files={"file:1/model.py": SOURCE})

    def load_files_text(self):
        text = base64.b64encode(SOURCE).decode()
        return pb_utils.load_model("loaded_files", json.dumps(CONFIG), {"file:1/model.py": text})

    def load_files_list(self):
        return pb_utils.load_model("loaded_files", json.dumps(CONFIG), ["file:1/model.py"])

    def load_files_int(self):
        return pb_utils.load_model("loaded_files", json.dumps(CONFIG), {"file:1/model.py": 5})

    def load_none(self):
        return pb_utils.load_model(None)

    def unload(self):
        return pb_utils.unload_model("loaded_files")

    def unload_dependents(self):
        return pb_utils.unload_model("loaded_files", unload_dependents=True)

    def unload_unknown(self):
        return pb_utils.unload_model("no_such_model")

    def unload_none(self):
        return pb_utils.unload_model(None)

    def unload_text(self):
        return pb_utils.unload_model("loaded_files", "yes")

    def after_unload(self):
        import time

        deadline = time.monotonic() + 10
        while pb_utils.is_model_ready("loaded_files") and time.monotonic() < deadline:
            time.sleep(0.02)
        return pb_utils.is_model_ready("loaded_files")

    call_again = call_third = call_fourth = call_unloaded = call
    load_again = load_last = load_it
    ready_after = ready_before = ready
