import triton_python_backend_utils as pb_utils  # noqa: F401


class TritonPythonModel:
    @staticmethod
    def auto_complete_config(config):
        config.add_input({"name": "IN", "data_type": "TYPE_INT32", "dims": [4]})

    def execute(self, requests):
        return []
