import json

import triton_python_backend_utils as pb_utils
from probes import Probes

INPUT = {"name": "A", "data_type": "TYPE_FP32", "dims": [4]}


def config(**fields):
    return pb_utils.ModelConfig(
        json.dumps({"name": "m", "max_batch_size": 0, "input": [], "output": [], **fields})
    )


class TritonPythonModel(Probes):
    def as_dict(self):
        return config(a=1).as_dict()

    def as_dict_is_the_same(self):
        c = config()
        return c.as_dict() is c.as_dict()

    def max_batch_size(self):
        c = config()
        return c.set_max_batch_size(5), c.as_dict()["max_batch_size"]

    def smaller_batch_size(self):
        return config(max_batch_size=8).set_max_batch_size(4)

    def same_batch_size(self):
        return config(max_batch_size=8).set_max_batch_size(8)

    def negative_batch_size(self):
        return config().set_max_batch_size(-1)

    def text_batch_size(self):
        return config().set_max_batch_size("4")

    def dynamic_batching(self):
        c = config()
        return c.set_dynamic_batching(), c.as_dict()["dynamic_batching"]

    def dynamic_batching_kept(self):
        c = config(dynamic_batching={"max_queue_delay_microseconds": 5})
        c.set_dynamic_batching()
        return c.as_dict()["dynamic_batching"]

    def dynamic_batching_of_sequences(self):
        return config(sequence_batching={}).set_dynamic_batching()

    def dynamic_batching_of_ensemble(self):
        return config(ensemble_scheduling={}).set_dynamic_batching()

    def add_input(self):
        c = config()
        return c.add_input(INPUT), c.as_dict()["input"]

    def add_input_optional(self):
        c = config()
        c.add_input({**INPUT, "optional": True})
        return c.as_dict()["input"]

    def add_input_keyword(self):
        return config().add_input(input=INPUT)

    def add_input_other_property(self):
        return config().add_input({**INPUT, "reshape": {}})

    def add_input_without_name(self):
        return config().add_input({"data_type": "TYPE_FP32", "dims": [4]})

    def add_input_without_type(self):
        return config().add_input({"name": "A", "dims": [4]})

    def add_input_without_dims(self):
        return config().add_input({"name": "A", "data_type": "TYPE_FP32"})

    def add_input_other_property_without_name(self):
        return config().add_input({"reshape": {}})

    def add_input_again(self):
        c = config(input=[INPUT])
        c.add_input(INPUT)
        return c.as_dict()["input"]

    def add_input_other_type(self):
        return config(input=[INPUT]).add_input({**INPUT, "data_type": "TYPE_INT32"})

    def add_input_open_type(self):
        c = config(input=[{"name": "A", "data_type": "TYPE_INVALID", "dims": []}])
        c.add_input({**INPUT, "optional": True})
        return c.as_dict()["input"]

    def add_input_other_dims(self):
        return config(input=[INPUT]).add_input({**INPUT, "dims": [5]})

    def add_input_text_dims(self):
        return config(input=[{**INPUT, "dims": ["4"]}]).add_input(INPUT)

    def add_input_other_optional(self):
        return config(input=[{**INPUT, "optional": False}]).add_input({**INPUT, "optional": True})

    def add_output(self):
        c = config()
        return c.add_output(INPUT), c.as_dict()["output"]

    def add_output_optional(self):
        return config().add_output({**INPUT, "optional": True})

    def add_output_without_name(self):
        return config().add_output({"data_type": "TYPE_FP32", "dims": [4]})

    def add_output_without_type(self):
        return config().add_output({"name": "A", "dims": [4]})

    def add_output_without_dims(self):
        return config().add_output({"name": "A", "data_type": "TYPE_FP32"})

    def add_output_other_type(self):
        return config(output=[INPUT]).add_output({**INPUT, "data_type": "TYPE_INT32"})

    def add_output_other_dims(self):
        return config(output=[INPUT]).add_output({**INPUT, "dims": [5]})

    def add_output_again(self):
        c = config(output=[{**INPUT, "data_type": "TYPE_INVALID"}])
        c.add_output(INPUT)
        return c.as_dict()["output"]

    def policy(self):
        c = config()
        return c.set_model_transaction_policy({"decoupled": True}), c.as_dict()["model_transaction_policy"]

    def policy_keyword(self):
        return config().set_model_transaction_policy(transaction_policy_dict={"decoupled": False})

    def policy_empty(self):
        c = config()
        c.set_model_transaction_policy({})
        return c.as_dict()["model_transaction_policy"]

    def policy_other(self):
        return config().set_model_transaction_policy({"coupled": True})

    def policy_changed(self):
        return config(model_transaction_policy={"decoupled": False}).set_model_transaction_policy(
            {"decoupled": True}
        )

    def policy_same(self):
        c = config(model_transaction_policy={"decoupled": True})
        return c.set_model_transaction_policy({"decoupled": True})

    def of_dict(self):
        return pb_utils.ModelConfig({})

    def of_bad_text(self):
        return pb_utils.ModelConfig("{")

    def private(self):
        return config()._model_config["name"]
