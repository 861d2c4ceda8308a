import numpy as np
import triton_python_backend_utils as pb_utils
from probes import Probes


def shown(array):
    return array.dtype.name, array.shape, array.tolist()


class TritonPythonModel(Probes):
    def basics(self):
        tensor = pb_utils.Tensor("T", np.array([[1, 2]], np.int32))
        return tensor.name(), tensor.triton_dtype(), tensor.shape(), tensor.is_cpu(), shown(tensor.as_numpy())

    def shape_kind(self):
        return type(pb_utils.Tensor("T", np.zeros((2, 3), np.int8)).shape())

    def scalar_array(self):
        tensor = pb_utils.Tensor("T", np.array(5, np.int64))
        return tensor.shape(), shown(tensor.as_numpy())

    def numpy_scalar(self):
        return shown(pb_utils.Tensor("T", np.float32(1.5)).as_numpy())

    def python_scalar(self):
        return shown(pb_utils.Tensor("T", 5).as_numpy())

    def list_of_ints(self):
        return shown(pb_utils.Tensor("T", [1, 2]).as_numpy())

    def list_of_floats(self):
        return shown(pb_utils.Tensor("T", [1.5, 2]).as_numpy())

    def list_of_texts(self):
        return shown(pb_utils.Tensor("T", ["a", "b"]).as_numpy())

    def tuple_of_ints(self):
        return shown(pb_utils.Tensor("T", (1, 2)).as_numpy())

    def text(self):
        return shown(pb_utils.Tensor("T", "abc").as_numpy())

    def nothing(self):
        return pb_utils.Tensor("T", None)

    def no_arguments(self):
        return pb_utils.Tensor()

    def name_only(self):
        return pb_utils.Tensor("T")

    def keyword_arguments(self):
        return pb_utils.Tensor(name="T", ndarray=np.zeros(1, np.int8))

    def too_many(self):
        return pb_utils.Tensor("T", np.zeros(1, np.int8), 3)

    def empty_name(self):
        return pb_utils.Tensor("", np.zeros(1, np.int8))

    def name_none(self):
        return pb_utils.Tensor(None, np.zeros(1, np.int8))

    def name_int(self):
        return pb_utils.Tensor(3, np.zeros(1, np.int8))

    def name_bytes(self):
        return pb_utils.Tensor(b"T", np.zeros(1, np.int8)).name()

    def name_unicode(self):
        return pb_utils.Tensor("tänsör ✓", np.zeros(1, np.int8)).name()

    def dtypes(self):
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
        ]
        return [pb_utils.Tensor("T", np.zeros(1, kind)).triton_dtype() for kind in kinds]

    def objects(self):
        tensor = pb_utils.Tensor("T", np.array(["a", b"b", 3, None, 1.5, "ü"], object))
        return tensor.triton_dtype(), tensor.shape(), shown(tensor.as_numpy())

    def fixed_bytes(self):
        tensor = pb_utils.Tensor("T", np.array([b"abc", b"d"]))
        return tensor.triton_dtype(), tensor.shape(), tensor.as_numpy().tolist()

    def fixed_unicode(self):
        return shown(pb_utils.Tensor("T", np.array(["abc", "d"])).as_numpy())

    def complex_numbers(self):
        return pb_utils.Tensor("T", np.zeros(1, np.complex64))

    def dates(self):
        return pb_utils.Tensor("T", np.zeros(1, "datetime64[s]"))

    def structured(self):
        return pb_utils.Tensor("T", np.zeros(1, [("a", "i4")]))

    def longdouble(self):
        return pb_utils.Tensor("T", np.zeros(1, np.longdouble))

    def big_endian(self):
        return shown(pb_utils.Tensor("T", np.array([1, 2], ">i4")).as_numpy())

    def not_contiguous(self):
        return shown(pb_utils.Tensor("T", np.arange(6, dtype=np.int32).reshape(2, 3).T).as_numpy())

    def stepped(self):
        return shown(pb_utils.Tensor("T", np.arange(6, dtype=np.int32)[::2]).as_numpy())

    def reversed_objects(self):
        return shown(pb_utils.Tensor("T", np.array([b"a", b"b"], object)[::-1]).as_numpy())

    def same_memory(self):
        array = np.zeros(3, np.float32)
        tensor = pb_utils.Tensor("T", array)
        array[0] = 7
        return tensor.as_numpy().tolist()

    def as_numpy_is_the_array(self):
        array = np.zeros(3, np.float32)
        return pb_utils.Tensor("T", array).as_numpy() is array

    def empty(self):
        tensor = pb_utils.Tensor("T", np.zeros((0, 3), np.float32))
        return tensor.shape(), shown(tensor.as_numpy())

    def subclass_of_array(self):
        return shown(pb_utils.Tensor("T", np.ma.masked_array([1, 2], [0, 1], dtype=np.int32)).as_numpy())

    def memoryview(self):
        return shown(pb_utils.Tensor("T", memoryview(b"ab")).as_numpy())

    def repr(self):
        return pb_utils.Tensor("T", np.zeros(1, np.int8))

    def new_attribute(self):
        try:
            pb_utils.Tensor("T", np.zeros(1, np.int8)).note = 5
        except AttributeError:
            return "refused"

    def subclass(self):
        class Mine(pb_utils.Tensor):
            def twice(self):
                return self.as_numpy() * 2

        return Mine("T", np.ones(1, np.int8)).twice().tolist()

    def as_numpy_argument(self):
        return pb_utils.Tensor("T", np.zeros(1, np.int8)).as_numpy(1)

    def equal(self):
        array = np.zeros(1, np.int8)
        return pb_utils.Tensor("T", array) == pb_utils.Tensor("T", array), len(
            {pb_utils.Tensor("T", array), pb_utils.Tensor("T", array)}
        )
