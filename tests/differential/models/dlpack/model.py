import numpy as np
import triton_python_backend_utils as pb_utils
from probes import Probes


class Wrapped:
    """What speaks DLPack without being an array."""

    def __init__(self, array):
        self.array = array
        self.calls = []

    def __dlpack__(self, **options):
        self.calls.append(sorted(options))
        return self.array.__dlpack__()

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


class TritonPythonModel(Probes):
    def of_an_array(self):
        tensor = pb_utils.Tensor.from_dlpack("T", np.arange(6, dtype=np.float32).reshape(2, 3))
        return (
            tensor.name(),
            tensor.shape(),
            tensor.triton_dtype(),
            tensor.as_numpy().tolist(),
            tensor.is_cpu(),
        )

    def of_a_capsule(self):
        tensor = pb_utils.Tensor.from_dlpack("T", np.arange(3, dtype=np.int64).__dlpack__())
        return tensor.shape(), tensor.as_numpy().tolist()

    def of_an_object(self):
        wrapped = Wrapped(np.arange(3, dtype=np.int16))
        return pb_utils.Tensor.from_dlpack("T", wrapped).as_numpy().tolist()

    def of_every_dtype(self):
        kinds = [
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
        ]
        return [pb_utils.Tensor.from_dlpack("T", np.ones(2, kind)).triton_dtype() for kind in kinds]

    def of_bool(self):
        return pb_utils.Tensor.from_dlpack("T", np.ones(2, bool)).triton_dtype()

    def of_complex(self):
        return pb_utils.Tensor.from_dlpack("T", np.ones(2, np.complex64))

    def of_a_transposed(self):
        return pb_utils.Tensor.from_dlpack("T", np.arange(6, dtype=np.float32).reshape(2, 3).T)

    def of_a_stepped(self):
        return pb_utils.Tensor.from_dlpack("T", np.arange(6, dtype=np.float32)[::2])

    def of_an_empty(self):
        return pb_utils.Tensor.from_dlpack("T", np.zeros((0, 3), np.float32)).shape()

    def of_a_scalar(self):
        return pb_utils.Tensor.from_dlpack("T", np.array(3, np.float32)).shape()

    def of_one_column(self):
        return pb_utils.Tensor.from_dlpack("T", np.arange(6, dtype=np.float32).reshape(6, 1)[:, :1]).shape()

    def of_a_list(self):
        return pb_utils.Tensor.from_dlpack("T", [1, 2])

    def of_nothing(self):
        return pb_utils.Tensor.from_dlpack("T", None)

    def empty_name(self):
        return pb_utils.Tensor.from_dlpack("", np.zeros(1, np.int8))

    def no_name(self):
        return pb_utils.Tensor.from_dlpack(np.zeros(1, np.int8))

    def capsule_twice(self):
        capsule = np.arange(3, dtype=np.int64).__dlpack__()
        pb_utils.Tensor.from_dlpack("T", capsule)
        return pb_utils.Tensor.from_dlpack("T", capsule)

    def on_an_object(self):
        tensor = pb_utils.Tensor("T", np.zeros(1, np.int8))
        return tensor.from_dlpack("U", np.zeros(1, np.int8)).name()

    def to_numpy(self):
        return np.from_dlpack(pb_utils.Tensor("T", np.arange(3, dtype=np.int32))).tolist()

    def to_capsule(self):
        return type(pb_utils.Tensor("T", np.arange(3, dtype=np.int32)).to_dlpack()).__name__

    def there_and_back(self):
        tensor = pb_utils.Tensor("T", np.arange(4, dtype=np.float64).reshape(2, 2))
        return pb_utils.Tensor.from_dlpack("U", tensor.to_dlpack()).as_numpy().tolist()

    def tensor_of_tensor(self):
        return (
            pb_utils.Tensor.from_dlpack("U", pb_utils.Tensor("T", np.arange(3, dtype=np.int32)))
            .as_numpy()
            .tolist()
        )

    def bool_to_numpy(self):
        return np.from_dlpack(pb_utils.Tensor("T", np.array([True, False]))).tolist()

    def strings(self):
        return pb_utils.Tensor("T", np.array([b"a"], object)).to_dlpack()

    def device(self):
        return pb_utils.Tensor("T", np.arange(3, dtype=np.int32)).__dlpack_device__()

    def with_stream(self):
        return type(pb_utils.Tensor("T", np.arange(3, dtype=np.int32)).__dlpack__(stream=None)).__name__

    def with_stream_positional(self):
        return type(pb_utils.Tensor("T", np.arange(3, dtype=np.int32)).__dlpack__(None)).__name__

    def shares_memory(self):
        array = np.zeros(3, np.float32)
        tensor = pb_utils.Tensor.from_dlpack("T", array)
        array[1] = 5
        return tensor.as_numpy().tolist()

    def outlives_its_source(self):
        tensor = pb_utils.Tensor.from_dlpack("T", np.full(1000, 3, np.float32))
        np.full(1000, 4, np.float32)
        return float(tensor.as_numpy().sum())

    def export_outlives_tensor(self):
        array = np.from_dlpack(pb_utils.Tensor("T", np.full(1000, 3, np.float32)))
        np.full(1000, 4, np.float32)
        return float(array.sum())

    def input_exported(self):
        tensor = self.request.inputs()[0]
        return tensor.to_dlpack()
