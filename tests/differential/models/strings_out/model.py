import numpy as np
import triton_python_backend_utils as pb_utils

OUTPUTS = {
    "bytes": lambda: np.array([b"a", b"", b"\xff\x00\xfe"], object),
    "texts": lambda: np.array(["ä", "", "漢字 ✓"], object),
    "mixed": lambda: np.array([b"a", "b", 3, 1.5, None, True], object),
    "fixed": lambda: np.array([b"abc", b"d\0e", b""]),
    "unicode": lambda: np.array(["abc", "ä"]),
    "matrix": lambda: np.array([["a", "b"], ["c", "d"]], object),
    "transposed": lambda: np.array([["a", "b"], ["c", "d"]], object).T,
    "cube": lambda: np.array([[["a"], ["b"]]], object),
    "empty": lambda: np.array([], object),
    "empty_rows": lambda: np.zeros((0, 2), object),
    "zeros": lambda: np.zeros(2, object),
    "numpy_bytes": lambda: np.array([np.bytes_(b"x"), np.str_("y")], object),
    "bytearray": lambda: np.array([bytearray(b"ab"), memoryview(b"cd").tobytes()], object),
    "list_inside": lambda: np.array([["a"], ["b", "c"]], object),
    "big": lambda: np.array(["x" * 100_000], object),
    "many": lambda: np.array([str(number) for number in range(3000)], object),
    "surrogate": lambda: np.array(["\ud800"], object),
    "scalar": lambda: np.array("text", object),
    "stepped": lambda: np.array(["a", "b", "c", "d"], object)[::2],
    "subclass": lambda: np.array([type("Text", (str,), {})("mine")], object),
    "shown": lambda: np.array([type("Shown", (), {"__str__": lambda self: "shown"})()], object),
}


class TritonPythonModel:
    def execute(self, requests):
        name = requests[0].inputs()[0].as_numpy()[0].decode()
        return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", OUTPUTS[name]())])]
