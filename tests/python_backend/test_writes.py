"""Which models need copies of their inputs, by their source and by what they do."""

from __future__ import annotations

import ast
import textwrap

import numpy as np
import pytest

from triton_backend_sdk.python_backend.taint import Model
from triton_backend_sdk.python_backend.taint_run import follow

LARGE = {"IN": np.arange(10_000, dtype=np.float32)}
FRAME = """
class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            tensor = pb_utils.get_input_tensor_by_name(request, "IN")
            x = tensor.as_numpy()
{}
        return responses
"""


def finding(body, more=""):
    source = FRAME.format(textwrap.indent(textwrap.dedent(body).strip(), " " * 12)) + textwrap.dedent(more)
    found = follow(Model([("model.py", ast.parse(source))]))
    return found.what if found else None


WRITES = [
    "x += 1",
    "x[0] = 1",
    "x[:] = 0",
    "x[x > 3] -= 1",
    "x.T[0] += 1",
    "x.sort()",
    "x.fill(0)",
    "x.reshape(2, -1)[0] = 1",
    "y = np.asarray(x); y *= 2",
    "y = x.squeeze().transpose(1, 0)\ny[0, 0] = 1",
    "y = x.astype(np.float32, copy=False); y[0] = 1",
    "y = np.array(x, copy=False); y[0] = 1",
    "np.add(x, 1, out=x)",
    "np.add(x, 1, x)",
    "np.clip(x, 0, 1, out=x[1:])",
    "np.copyto(x, 0)",
    "np.add.at(x, [0], 1)",
    "np.random.shuffle(x)",
    "rng.shuffle(x)",
    "np.put_along_axis(x, i, 0, axis=0)",
    "np.nan_to_num(x, copy=False)",
    "scipy.fft.fft(x, overwrite_x=True)",
    "x.shape = (2, 5)",
    "x.flat = 0",
    "x.real[0] = 0",
    "for row in x:\n    row[0] = 1",
    "for i, row in enumerate(x):\n    row /= 2",
    "for a, b in zip(x, x):\n    b.sort()",
    "all = [x, x]\nall[0][1] = 3",
    "[y] = [x]\ny[0] = 1",
    "d = {'a': x}\nd['a'] += 1",
    "d = {}\nd['a'] = x\nd['b'] = x\nd['a'][0] = 1",
    "l = []\nl.append(x)\nfor y in l:\n    y[0] = 1",
    "ys = [r.as_numpy() for r in request.inputs()]\nys[0][0] = 1",
    "with open('f') as f:\n    if f:\n        y = x\n    else:\n        y = 3\n    y[0] = 1",
    "try:\n    y = x\nfinally:\n    y[0] = 1",
    "y, z = x, 3\ny[0] = 1",
    "y = z = x\nz[0] = 1",
    "(y := x)[0] = 1",
    "y = x if x.size else None\ny[0] = 1",
    "def inner():\n    x[0] = 1\ninner()",
    "memoryview(x)[0] = 1",
    "np.frombuffer(x.data)[0] = 1",
    "torch.from_numpy(x)",
    "torch.as_tensor(x)",
    "x.ctypes.data",
    "np.ctypeslib.as_ctypes(x)",
    "x.setflags(write=True)",
    "x.itemset(0, 1)",
    "np.nditer(x, op_flags=['readwrite'])",
    "[row.sort() for row in x]",
    "list(map(lambda y: x.fill(y), [1]))",
    "while True:\n    y[0] = 1\n    y = x",
]
KEEPS = [
    "self.last = x",
    "self.state[3] = x[1:]",
    "self.history.append(x)",
    "self.queue.put_nowait(x)",
    "cache['a'] = x",
    "self.a, self.b = x, 3",
    "global last\nlast = x",
    "self.total = [x]",
    "self.pool.submit(work, x)",
    "self.sums += [x]",
    "self.tensor = tensor",
    "self.inputs = request.inputs()",
    "self.last = pb_utils.InferenceResponse([pb_utils.Tensor('OUT', x)])",
    "self.later.append(lambda: x)",
]
NEITHER = [
    "y = x * 2\ny += 1",
    "out = pb_utils.Tensor('OUT', x)\nresponses += [pb_utils.InferenceResponse([out])]",
    "tensors = request.inputs()\nnames = [t.name() for t in tensors]\nself.names = names",
    "self.shape = tensor.shape()",
    "x = x + 1\nx += 1",
    "x = x.astype(np.float64)\nx /= 255",
    "y = x.copy()\ny[0] = 1",
    "y = np.array(x)\ny[0] = 1",
    "y = np.zeros_like(x)\ny[:] = x",
    "np.add(x, 1, out=y)",
    "y = sorted(x)",
    "d = {}\nd['a'] = x\nd['b'] = x",
    "responses.append(pb_utils.InferenceResponse([pb_utils.Tensor('OUT', x)]))",
    "self.total = x.sum()",
    "self.total += float(x[0]) if False else x.mean()",
    "self.model.predict({'a': x})",
    "y = np.concatenate([x, x])\ny.sort()",
    "n = x.shape[0]\nn += 1",
    "for i in range(len(x)):\n    i += 1",
    "self.count += 1",
    "y = torch.tensor(x)\ny[0] = 1",
    "text = [item.decode() for item in x]\ntext[0] = 'a'",
]


@pytest.mark.parametrize("body", WRITES)
def test_a_write_is_found(body):
    assert finding(body) in ("writes into it", "may write into it")


@pytest.mark.parametrize("body", KEEPS)
def test_what_is_kept_is_found(body):
    assert finding(body) == "keeps it"


@pytest.mark.parametrize("body", NEITHER)
def test_what_makes_new_arrays_is_left_alone(body):
    assert finding(body) is None


MORE = """
def change(a, b):
    b[0] = 1

def both(*all, **named):
    for one in all:
        one.sort()

def same(a):
    return a[1:]

class Helper:
    def work(self, array, other=None):
        other += 1

    @staticmethod
    def plain(array):
        array += 1
"""


@pytest.mark.parametrize(
    "call",
    [
        "change(1, x)",
        "change(1, b=x)",
        "both(1, x)",
        "same(x)[0] = 1",
        "self.helper.work(1, x)",
        "self.helper.work(1, other=x)",
        "Helper.plain(x)",
    ],
)
def test_the_models_own_functions_are_followed(call):
    assert finding(call, MORE) == ("may write into it" if "both" in call else "writes into it")


def test_its_own_functions_may_read():
    assert finding("change(x, y); self.helper.work(x)", MORE) is None


@pytest.mark.parametrize("size", [4, 10_000])
def test_a_model_that_writes_into_its_inputs_does(serve_model, size):
    served = serve_model(
        """
        from helper import double

        class TritonPythonModel:
            def execute(self, requests):
                tensor = requests[0].inputs()[0]
                double(tensor.as_numpy())
                return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", tensor.as_numpy())])]
        """,
        helpers={"helper.py": "def double(array):\n    array *= 2\n"},
    )
    given = np.arange(size, dtype=np.float32)
    assert served.infer({"IN": given})["OUT"][:3].tolist() == [0, 2, 4]
    assert given[1] == 1
    assert "helper.py:2 writes into it" in served.log
    assert "from now on" not in served.log


def test_a_model_that_only_reads_gets_views(serve_model):
    served = serve_model(
        """
        class TritonPythonModel:
            def execute(self, requests):
                array = requests[0].inputs()[0].as_numpy()
                writeable = np.float32([array.flags.writeable])
                return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", writeable)])]
        """
    )
    assert served.infer(LARGE)["OUT"].tolist() == [0]
    assert served.infer({"IN": np.ones(4, np.float32)})["OUT"].tolist() == [1]
    assert "copied" not in served.log


@pytest.mark.parametrize(("chosen", "writeable"), [("true", 1), ("false", 0)])
def test_a_parameter_chooses(serve_model, chosen, writeable):
    served = serve_model(
        """
        class TritonPythonModel:
            def execute(self, requests):
                array = requests[0].inputs()[0].as_numpy()
                self.kept = array
                writeable = np.float32([array.flags.writeable])
                return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", writeable)])]

            def finalize(self):
                pass
        """,
        parameters={"private_inputs": chosen},
    )
    assert served.infer(LARGE)["OUT"].tolist() == [writeable]
    served.infer({"IN": np.ones(1, np.float32)})
    assert "copied" not in served.log
