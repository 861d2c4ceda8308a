import numpy as np
import triton_python_backend_utils as pb_utils


def tensor(name, *values, kind=np.int32):
    return pb_utils.Tensor(name, np.array(values, kind))


def listed(name):
    return {
        "both": [tensor("A", 1), tensor("B", 2)],
        "swapped": [tensor("B", 2), tensor("A", 1)],
        "only_a": [tensor("A", 1)],
        "none": [],
        "unknown": [tensor("A", 1), tensor("B", 2), tensor("C", 3)],
        "twice": [tensor("A", 1), tensor("A", 2), tensor("B", 3)],
        "wrong_dtype": [tensor("A", 1, kind=np.float32), tensor("B", 2)],
        "strings": [tensor("A", b"x", kind=object), tensor("B", 2)],
        "wrong_rank": [pb_utils.Tensor("A", np.zeros((1, 1), np.int32)), tensor("B", 2)],
        "wrong_size": [tensor("A", 1, 2, 3), tensor("B", 2)],
        "empty": [pb_utils.Tensor("A", np.zeros(0, np.int32)), tensor("B", 2)],
        "scalar": [pb_utils.Tensor("A", np.array(5, np.int32)), tensor("B", 2)],
        "transposed": [pb_utils.Tensor("A", np.arange(6, dtype=np.int32).reshape(2, 3).T), tensor("B", 2)],
        "stepped": [pb_utils.Tensor("A", np.arange(6, dtype=np.int32)[::-2]), tensor("B", 2)],
        "broadcast": [pb_utils.Tensor("A", np.broadcast_to(np.int32(4), (3,))), tensor("B", 2)],
        "read_only": [pb_utils.Tensor("A", np.frombuffer(b"\1\0\0\0", np.int32)), tensor("B", 2)],
        "case": [tensor("a", 1), tensor("B", 2)],
    }[name]


class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            what = pb_utils.get_input_tensor_by_name(request, "WHAT")
            if what is None:
                names = sorted(request.requested_output_names())
                out = [pb_utils.Tensor("TEXT", np.array([str(names)], object))]
            elif (name := what.as_numpy()[0].decode()) == "input":
                array = np.arange(3, dtype=np.int32)
                same = pb_utils.Tensor("A", array)
                out = [same, pb_utils.Tensor("B", same.as_numpy())]
            else:
                out = listed(name)
            responses.append(pb_utils.InferenceResponse(out))
        return responses
