"""Models rewritten as plugins answer as they do unchanged: both in one Triton core, with the same requests."""

import ast
import itertools
import sys
import textwrap

import numpy as np
import pytest

from triton_backend_sdk.errors import TritonError
from triton_backend_sdk.testing.core import TritonCore
from triton_backend_sdk.tools.build import build_backend
from triton_backend_sdk.tools.compat import compat_backend
from triton_backend_sdk.tools.migrate import examine, locate
from triton_backend_sdk.tools.migrate.writer import write_project
from triton_backend_sdk.tools.project import Project

_numbers = itertools.count()
F32 = np.float32

ADD_SUB = '''
import json
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    """Adds and subtracts."""

    def initialize(self, args):
        self.model_config = model_config = json.loads(args["model_config"])
        one = pb_utils.get_output_config_by_name(model_config, "SUM")
        self.dtype = pb_utils.triton_string_to_numpy(one["data_type"])  # a comment that stays

    def execute(self, requests):
        responses = []
        for request in requests:
            a = pb_utils.get_input_tensor_by_name(request, "A")
            b = pb_utils.get_input_tensor_by_name(request, "B").as_numpy()
            total = pb_utils.Tensor("SUM", (a.as_numpy() + b).astype(self.dtype))
            responses.append(pb_utils.InferenceResponse(output_tensors=[
                total,
                pb_utils.Tensor("DIFFERENCE", a.as_numpy() - b),
            ]))
        return responses

    def finalize(self):
        print("done")
'''
WRITES = """
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        out = []
        for request in requests:
            x = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()
            x *= 2
            first = x[:1]
            first[...] = 7
            out.append(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", x)]))
        return out
"""
DICTS = """
import numpy as np
import triton_python_backend_utils as pb_utils

STEPS = {"double": lambda array: np.multiply(array, 2, array)}

class TritonPythonModel:
    def execute(self, requests):
        out = []
        for request in requests:
            arrays = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
            STEPS["double"](arrays["IN"])
            out.append(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", arrays["IN"])]))
        return out
"""
ITEMS = """
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        out = []
        for request in requests:
            arrays = {}
            arrays["IN"] = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()
            arrays["IN"] *= 2
            out.append(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", arrays["IN"])]))
        return out
"""
ERRORS = """
from triton_python_backend_utils import InferenceResponse, Tensor, TritonError, get_input_tensor_by_name
import triton_python_backend_utils as pb

class TritonPythonModel:
    def execute(self, requests):
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        x = get_input_tensor_by_name(request, "IN").as_numpy()
        if x[0] == 1:
            return InferenceResponse(output_tensors=[], error=TritonError("one"))
        if x[0] == 2:
            return InferenceResponse(error=TritonError("two", TritonError.INVALID_ARG))
        if x[0] == 3:
            error = pb.TritonError(f"three {x[0]}", pb.TritonError.UNAVAILABLE)
            return InferenceResponse([], error)
        return InferenceResponse([Tensor("OUT", x)])
"""
STRINGS = """
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for i, request in enumerate(requests):
            texts = pb_utils.get_input_tensor_by_name(request, "IN")
            texts = texts.as_numpy()
            upper = np.array([text.decode("utf-8").upper() for text in texts.flatten()], dtype=object)
            out = pb_utils.Tensor("OUT", upper.reshape(texts.shape))
            responses.append(pb_utils.InferenceResponse(output_tensors=[out]))
        return responses
"""
REQUEST = """
import json
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def initialize(self, args):
        self.name = args["model_name"] + args["model_version"] + args["model_instance_kind"]
        self.device = args.get("model_instance_device_id")
        self.logger = pb_utils.Logger
        self.logger.log_info("ready: %s" % self.name)

    def execute(self, reqs):
        pb_utils.Logger.log_verbose("a batch")
        responses = []
        for r in reqs:
            said = {
                "id": r.request_id(), "correlation": r.correlation_id(), "timeout": r.timeout(),
                "parameters": json.loads(r.parameters()), "outputs": sorted(r.requested_output_names()),
                "text": json.loads(r.parameters())["word"], "cancelled": r.is_cancelled(),
                "inputs": [(t.name(), list(t.shape())) for t in r.inputs()],
                "flags": int(r.flags()), "device": self.device,
                "start": bool(r.flags() & pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_START),
            }
            out = np.array([json.dumps(said, sort_keys=True)], dtype=np.object_)
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", out)], parameters={"n": 1}))
        return responses
"""
OPTIONAL = """
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            scale = pb_utils.get_input_tensor_by_name(request, "SCALE")
            factor = 10 if scale is None else scale.as_numpy()[0]
            x = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", (x * factor).astype(np.float32))]))
        return responses
"""
COLLECTED = """
import triton_python_backend_utils as pb_utils

NAMES = ["SUM", "DIFFERENCE"]

class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            a, b = [tensor.as_numpy() for tensor in request.inputs()]
            tensors = []
            for name, value in zip(NAMES, (a + b, a - b)):
                tensors.append(pb_utils.Tensor(name, value))
            responses.append(pb_utils.InferenceResponse(output_tensors=tensors))
        return responses
"""
HELPERS = """
from typing import Dict, List
import numpy as np
import triton_python_backend_utils as pb_utils

def tensor_of(request: pb_utils.InferenceRequest, name: str):
    return pb_utils.get_input_tensor_by_name(request, name)

def answer(values) -> pb_utils.InferenceResponse:
    out = pb_utils.Tensor(
        "OUT",
        values
        + 1,
    )
    return pb_utils.InferenceResponse(
        output_tensors=[out],
    )

class TritonPythonModel:
    @staticmethod
    def double(x):
        return 2 * x

    def initialize(self, args: Dict[str, str]) -> None:
        self.calls = 0

    def execute(self, requests: List[pb_utils.InferenceRequest]) -> List[pb_utils.InferenceResponse]:
        self.calls += 1
        tensors = [tensor_of(request, "IN") for request in requests]
        arrays = [TritonPythonModel.double(tensor.as_numpy()) for tensor in tensors]
        return [answer(array) for array in arrays]
"""
KEPT = """
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def initialize(self, args):
        self.last = np.zeros(1, np.float32)

    def execute(self, requests):
        responses = []
        for request in requests:
            x = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()
            out = self.last.copy()
            self.last = x
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", out)]))
        return responses
"""
VIEWS = """
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            x = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()
            turned = np.flip(x.reshape(2, -1).T, 0).reshape(x.shape)
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", turned)]))
        return responses
"""
RAISES = """
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            try:
                if pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()[0] > 0:
                    raise pb_utils.TritonModelException("above 0")
                raise RuntimeError("not above 0")
            except pb_utils.TritonModelException as error:
                responses.append(pb_utils.InferenceResponse(error=pb_utils.TritonError("caught: " + str(error))))
        return responses
"""
LOADING = """
import os
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def initialize(self, args):
        place = os.path.join(args["model_repository"], args["model_version"], "offset.txt")
        with open(place) as file:
            self.offset = float(file.read())

    def execute(self, requests):
        for_all = []
        for request in requests:
            x = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()
            for_all += [pb_utils.InferenceResponse(output_tensors=[pb_utils.Tensor("OUT", x + self.offset)])]
        return for_all
"""

AS_GIVEN = """
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        return [pb_utils.InferenceResponse([pb_utils.Tensor("SUM", np.zeros((2, 2), np.int64))]) for _ in requests]
"""
PARAMETERS = """
import json
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            words = []
            if request.parameters() != "{}":
                words = sorted(json.loads(request.parameters()))
            said = [request.parameters(), *words]
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.array(said, dtype=object))]))
        return responses
"""
NOT_SIMPLE = {
    "decoupled": ("""
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        for request in requests:
            sender = request.get_response_sender()
            x = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()
            for one in x:
                sender.send(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", x * one)]))
            sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
""", "wrapper"),
    "async": ("""
import asyncio
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    async def execute(self, requests):
        await asyncio.sleep(0)
        return [pb_utils.InferenceResponse([self.answer(request)]) for request in requests]

    def answer(self, request):
        return pb_utils.Tensor("OUT", 3 * pb_utils.get_input_tensor_by_name(request, "IN").as_numpy())
""", "wrapper"),
    "shared": ("""
import triton_python_backend_utils as pb_utils

count = 0

class TritonPythonModel:
    def execute(self, requests):
        global count
        count += 1
        arrays = [pb_utils.get_input_tensor_by_name(request, "IN").as_numpy() + count for request in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", array)]) for array in arrays]
""", "server"),
    "files": ("""
import os
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def initialize(self, args):
        with open(os.path.join(os.path.dirname(__file__), "offset.txt")) as file:
            self.offset = float(file.read())

    def execute(self, requests):
        arrays = [pb_utils.get_input_tensor_by_name(request, "IN").as_numpy() + self.offset for request in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", array)]) for array in arrays]
""", "server"),
}  # fmt: skip

ONE = {"IN": ("FP32", [-1])}, {"OUT": ("FP32", [-1])}
TWO = {"A": ("FP32", [-1]), "B": ("FP32", [-1])}, {"SUM": ("FP32", [-1]), "DIFFERENCE": ("FP32", [-1])}
TEXT = {"IN": ("STRING", [-1])}, {"OUT": ("STRING", [-1])}
OPTION = {"IN": ("FP32", [-1]), "SCALE": ("FP32", [1], "optional: true")}, ONE[1]
PAIR = [({"A": F32([1, 2]), "B": F32([3, 5])}, {}), ({"A": F32([9]), "B": F32([3])}, {"outputs": ["SUM"]})]
PLAIN = [({"IN": F32(values)}, {}) for values in ([1, 2, 3, 4], [2, 0], [3, 1], [-1, 8])]
OPTIONS = {"parameters": {"word": "yes", "n": 3}, "request_id": "r7", "correlation_id": 12, "flags": 1}
WORDS = [({"IN": F32([1])}, {}), ({"IN": F32([1])}, {"parameters": {"b": "x", "a": 2}})]
CASES = {
    "as_given": (AS_GIVEN, *TWO, [({"A": F32([1, 2]), "B": F32([3, 5])}, {})]),
    "parameters": (PARAMETERS, {"IN": ("FP32", [-1])}, TEXT[1], WORDS),
    "add_sub": (ADD_SUB, *TWO, PAIR),
    "collected": (COLLECTED, *TWO, PAIR),
    "dicts": (DICTS, *ONE, PLAIN),
    "errors": (ERRORS, *ONE, PLAIN),
    "helpers": (HELPERS, *ONE, PLAIN),
    "items": (ITEMS, *ONE, PLAIN),
    "kept": (KEPT, *ONE, [({"IN": F32([one])}, {}) for one in (1, 2, 3)]),
    "loading": (LOADING, *ONE, PLAIN),
    "optional": (OPTIONAL, *OPTION, [*PLAIN, ({"IN": F32([1]), "SCALE": F32([3])}, {})]),
    "raises": (RAISES, *ONE, PLAIN[:2]),
    "request": (REQUEST, {"IN": ("FP32", [-1])}, TEXT[1], [({"IN": F32([1, 2])}, OPTIONS)]),
    "strings": (STRINGS, *TEXT, [({"IN": np.array(["a\u00e4", "", "b" * 300], object)}, {})]),
    "views": (VIEWS, *ONE, [PLAIN[0], PLAIN[1]]),
    "writes": (WRITES, *ONE, PLAIN),
}


#: What the stock backend answers, of models that write into their inputs or keep them.
COPIES = {
    "dicts": [[2, 4, 6, 8], [4, 0], [6, 2], [-2, 16]],
    "items": [[2, 4, 6, 8], [4, 0], [6, 2], [-2, 16]],
    "kept": [[0], [1], [2]],
    "writes": [[7, 4, 6, 8], [7, 0], [7, 2], [7, 16]],
}


def write_model(repository, name, source, inputs, outputs):
    folder = repository / name
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.py").write_text(source)
    (folder / "1" / "offset.txt").write_text("0.5")
    lines = ["# the model's config", 'backend: "python"', "max_batch_size: 0"]
    for side, specs in (("input", inputs), ("output", outputs)):
        for tensor, (dtype, dims, *more) in specs.items():
            lines.append(
                f'{side} {{ name: "{tensor}" data_type: TYPE_{dtype} dims: {dims} {" ".join(more)} }}'
            )
    (folder / "config.pbtxt").write_text("\n".join([*lines, "instance_group { kind: KIND_CPU }"]))
    return folder


def ask(core, model, inputs, options):
    told = []
    for result in core.responses(model, inputs, timeout=20, **options):
        if isinstance(result, TritonError):
            told.append((type(result).__name__, str(result)))
        else:
            outputs = {name: (array.dtype.str, array.tolist()) for name, array in result.items()}
            told.append((outputs, dict(result.parameters)))
    return told


@pytest.fixture
def answers(tmp_path):
    """Give ``answers(...)``: those of the model as it is, and as each form of a plugin."""
    cores, names = [], []

    def make(source, inputs, outputs, requests, forms, policy=""):
        backends = tmp_path / "backends"
        folder = write_model(tmp_path / "given" / "models", "m", textwrap.dedent(source), inputs, outputs)
        build_backend(compat_backend("python"), backends)
        (folder / "config.pbtxt").write_text((folder / "config.pbtxt").read_text() + policy)
        [found] = locate(folder)
        report = examine(found)
        given = {"unchanged": folder.parent}
        for form in forms:
            name = f"migrated_{next(_numbers)}"
            project = write_project(report, tmp_path / form, name, wrap=form == "wrapper")
            build_backend(Project.find(project.root), backends, link=True)
            given[form] = project.root / "model_repository"
            names.append(name)
        told = {}
        for form, repository in given.items():
            core = TritonCore(repository, backends, exit_timeout=20)
            cores.append(core)
            core.load("m")
            told[form] = [ask(core, "m", *request) for request in requests]
            assert core.wait_released(5)
            core.close()
        return told, report

    yield make
    for core in cores:
        core.close()
    for module in [module for module in sys.modules if module.split(".")[0] in names]:
        del sys.modules[module]


@pytest.mark.parametrize("name", [name for name in CASES if name not in COPIES])
def test_a_model_answers_alike_in_each_form(name, answers):
    told, report = answers(*CASES[name], ["source", "wrapper"])

    assert report.rewriting.reason == ""
    assert told["source"] == told["unchanged"]
    assert told["wrapper"] == told["unchanged"]


@pytest.mark.parametrize("name", NOT_SIMPLE)
def test_a_model_that_is_not_simple_answers_alike_in_a_wrapper(name, answers, tmp_path):
    source, form = NOT_SIMPLE[name]
    policy = "model_transaction_policy { decoupled: true }" if name == "decoupled" else ""

    told, report = answers(source, *ONE, [*PLAIN, *PLAIN], ["wrapper"], policy=policy)

    assert report.rewriting.text is None
    assert told["wrapper"] == told["unchanged"]
    [package] = (tmp_path / "wrapper").glob("*/migrated_*")
    assert (package / "model.py").is_file() == (form == "wrapper")
    assert all(
        len(one) == (len(inputs["IN"]) if policy else 1)
        for one, (inputs, _) in zip(told["wrapper"], [*PLAIN, *PLAIN], strict=True)
    )


@pytest.mark.parametrize("name", COPIES)
def test_a_rewritten_model_may_write_into_its_inputs(name, answers):
    told, report = answers(*CASES[name], ["source", "wrapper"])

    assert told["source"] == told["wrapper"] == told["unchanged"]
    assert [answer["OUT"][1] for [(answer, _)] in told["source"]] == COPIES[name]
    assert "copied as on the stock backend" in report.rewriting.notes[0]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_rewritten_model_speaks_of_the_sdk_alone(case, tmp_path):
    report = examine(locate(write_model(tmp_path, "m", *case[:3]))[0])

    text = report.rewriting.text
    ast.parse(text)
    assert "triton_python_backend_utils" not in text
    assert "pb_utils" not in text
    assert "from triton_backend_sdk import " in text
