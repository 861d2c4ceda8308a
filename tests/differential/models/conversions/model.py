import numpy as np
import triton_python_backend_utils as pb_utils
from probes import Probes


class TritonPythonModel(Probes):
    def to_numpy(self):
        # By dtype: NumPy 2 gave its types other names.
        kinds = [pb_utils.triton_to_numpy_type(code) for code in range(14)]
        return [None if kind is None else np.dtype(kind).name for kind in kinds]

    def to_numpy_of_others(self):
        return pb_utils.triton_to_numpy_type(15), pb_utils.triton_to_numpy_type(-1)

    def to_numpy_of_bf16(self):
        return pb_utils.triton_to_numpy_type(14)

    def to_numpy_text(self):
        return pb_utils.triton_to_numpy_type("TYPE_FP32")

    def to_triton(self):
        kinds = [
            "bool",
            "uint8",
            "uint16",
            "uint32",
            "uint64",
            "int8",
            "int16",
            "int32",
            "int64",
            "float16",
            "float32",
            "float64",
            "object",
        ]
        return [pb_utils.numpy_to_triton_type(np.dtype(kind)) for kind in kinds]

    def to_triton_of_types(self):
        return [
            pb_utils.numpy_to_triton_type(kind) for kind in (np.float32, np.int8, np.bytes_, np.object_, bool)
        ]

    def to_triton_of_others(self):
        return [
            pb_utils.numpy_to_triton_type(kind) for kind in (np.complex64, np.str_, "float32", None, "S3")
        ]

    def of_string(self):
        return [
            pb_utils.triton_string_to_numpy(f"TYPE_{name}").__name__
            for name in ("FP32", "STRING", "BOOL", "FP16")
        ]

    def of_unknown_string(self):
        return pb_utils.triton_string_to_numpy("FP32")

    def of_bf16(self):
        return pb_utils.triton_string_to_numpy("TYPE_BF16")

    def serialize(self):
        return pb_utils.serialize_byte_tensor(np.array([b"ab", "ü", 3, None], object))

    def serialize_empty(self):
        return pb_utils.serialize_byte_tensor(np.array([], object))

    def serialize_fixed(self):
        return pb_utils.serialize_byte_tensor(np.array([b"ab", b"c"]))

    def serialize_unicode(self):
        return pb_utils.serialize_byte_tensor(np.array(["ab", "c"]))

    def serialize_numbers(self):
        return pb_utils.serialize_byte_tensor(np.array([1, 2]))

    def serialize_list(self):
        return pb_utils.serialize_byte_tensor([b"a"])

    def serialize_matrix(self):
        return pb_utils.serialize_byte_tensor(np.array([[b"a", b"bb"], [b"", b"d"]], object).T)

    def serialize_numpy_bytes(self):
        return pb_utils.serialize_byte_tensor(np.array([np.bytes_(b"x"), np.str_("y")], object))

    def deserialize(self):
        array = pb_utils.deserialize_bytes_tensor(b"\x02\x00\x00\x00ab\x00\x00\x00\x00\x01\x00\x00\x00c")
        return array.dtype.name, array.shape, array.tolist()

    def deserialize_nothing(self):
        array = pb_utils.deserialize_bytes_tensor(b"")
        return array.dtype.name, array.shape

    def deserialize_short(self):
        return pb_utils.deserialize_bytes_tensor(b"\x05\x00\x00\x00ab")

    def deserialize_short_length(self):
        return pb_utils.deserialize_bytes_tensor(b"\x05\x00")

    def deserialize_array(self):
        return pb_utils.deserialize_bytes_tensor(np.frombuffer(b"\x01\x00\x00\x00a", np.uint8)).tolist()

    def deserialize_memoryview(self):
        return pb_utils.deserialize_bytes_tensor(memoryview(b"\x01\x00\x00\x00a")).tolist()

    def input_config(self):
        config = {"input": [{"name": "A", "dims": [1]}, {"name": "B"}]}
        get = pb_utils.get_input_config_by_name
        return get(config, "A"), get(config, "B"), get(config, "C"), get({}, "A")

    def output_config(self):
        config = {"output": [{"name": "A", "dims": [1]}]}
        get = pb_utils.get_output_config_by_name
        return get(config, "A"), get(config, "C"), get({}, "A"), get(model_config=config, name="A")

    def config_text(self):
        return pb_utils.get_input_config_by_name('{"input": []}', "A")

    def decoupled(self):
        using = pb_utils.using_decoupled_model_transaction_policy
        policy = "model_transaction_policy"
        return using({}), using({policy: {"decoupled": True}}), using({policy: {"decoupled": False}})

    def decoupled_missing(self):
        return pb_utils.using_decoupled_model_transaction_policy({"model_transaction_policy": {}})

    def input_by_name(self):
        get = pb_utils.get_input_tensor_by_name
        return get(self.request, "IN").name(), get(self.request, "no"), get(self.request, None)

    def input_by_keyword(self):
        return pb_utils.get_input_tensor_by_name(inference_request=self.request, name="IN").name()

    def input_of_none(self):
        return pb_utils.get_input_tensor_by_name(None, "IN")

    def output_by_name(self):
        response = pb_utils.InferenceResponse([pb_utils.Tensor("A", np.zeros(1, np.int8))])
        get = pb_utils.get_output_tensor_by_name
        return get(response, "A").name(), get(response, "B")

    def output_by_keyword(self):
        response = pb_utils.InferenceResponse([pb_utils.Tensor("A", np.zeros(1, np.int8))])
        return pb_utils.get_output_tensor_by_name(inference_response=response, name="A").name()

    def output_of_list(self):
        return pb_utils.get_output_tensor_by_name([], "A")
