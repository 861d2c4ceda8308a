"""Beside every model.py: calls the methods that a request names, and tells what came of each."""

import re

import numpy as np
import triton_python_backend_utils as pb_utils

#: What differs between two runs: addresses of objects.
_ADDRESS = re.compile(r"0x[0-9a-f]+")


class Probes:
    request = None
    args = None

    def initialize(self, args):
        self.args = args

    def execute(self, requests):
        responses = []
        for request in requests:
            self.request = request
            names = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()
            found = np.array([told(getattr(self, name.decode())) for name in names], dtype=object)
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", found)]))
        return responses


def told(call):
    """What the call gives, or the exception that it ends with."""
    try:
        text = repr(call())
    except Exception as error:
        # The first line of a TypeError: the others list signatures as C++ has them.
        kind, text = type(error), str(error)
        text = text.partition("\n")[0] if kind is TypeError else text
        text = f"{kind.__module__}.{kind.__qualname__}: {text}"
    return _ADDRESS.sub("0x0", text)
