import numpy as np
import triton_python_backend_utils as pb_utils


def answer(value=1):
    return pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.array([value], np.int32))])


class Response(pb_utils.ModelConfig):
    pass


class Mine(list):
    pass


RETURNED = {
    "good": lambda: [answer()],
    "nothing": lambda: None,
    "good_again": lambda: [answer()],
    "none_in_list": lambda: [None],
    "too_few": lambda: [],
    "too_many": lambda: [answer(), answer()],
    "too_many_none": lambda: [answer(), None],
    "tuple": lambda: (answer(),),
    "generator": lambda: (answer() for _ in range(1)),
    "dict": lambda: {0: answer()},
    "response": answer,
    "nested": lambda: [[answer()]],
    "text": lambda: "text",
    "number": lambda: 5,
    "false": lambda: False,
    "texts": lambda: ["text"],
    "numbers": lambda: [5],
    "tensor": lambda: [pb_utils.Tensor("OUT", np.array([1], np.int32))],
    "array": lambda: [np.array([1], np.int32)],
    "object_array": lambda: np.array([answer()], object),
    "own_class": lambda: [Response("{}")],
    "class": lambda: [pb_utils.InferenceResponse],
    "error": lambda: [pb_utils.TritonError("bad")],
    "list_subclass": lambda: Mine([answer()]),
}


class TritonPythonModel:
    def execute(self, requests):
        name = pb_utils.get_input_tensor_by_name(requests[0], "WHAT").as_numpy()[0].decode()
        return RETURNED[name]()
