"""What is said of a model: what it uses, and what it would meet in the server's process."""

import gzip
import json
import sys
import tarfile
import textwrap

import numpy as np
import pytest

from triton_backend_sdk.python_backend import utils_module
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.migrate import examine, locate, names
from triton_backend_sdk.tools.migrate.calls import BROKEN, LOOK, NOTE, STOCK

PLAIN = """
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            x = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", x)]))
        return responses
"""
CONFIG = """
backend: "python"
input [ { name: "IN" data_type: TYPE_FP32 dims: [ -1 ] } ]
output [ { name: "OUT" data_type: TYPE_FP32 dims: [ -1 ] } ]
"""


def write(root, source=PLAIN, config=CONFIG, *, version="1", **beside):
    (root / version).mkdir(parents=True)
    (root / version / "model.py").write_text(textwrap.dedent(source))
    for name, text in beside.items():
        (root / version / f"{name}.py").write_text(textwrap.dedent(text))
    if config is not None:
        (root / "config.pbtxt").write_text(textwrap.dedent(config))
    return root


@pytest.fixture
def report(tmp_path):
    def make(source=PLAIN, config=CONFIG, **beside):
        [found] = locate(write(tmp_path / "m", source, config, **beside))
        return examine(found)

    return make


def model(body="", before="", initialize=""):
    return (
        "import triton_python_backend_utils as pb_utils\n"
        + textwrap.dedent(before)
        + "\nclass TritonPythonModel:\n    def initialize(self, args):\n        pass\n"
        + textwrap.indent(textwrap.dedent(initialize), " " * 8)
        + "\n    def execute(self, requests):\n        responses = []\n"
        + textwrap.indent(textwrap.dedent(body), " " * 8)
        + "\n        return responses\n"
    )


def said(report):
    return [(finding.level, finding.reason, finding.mend) for finding in report.findings]


# --- what it uses --------------------------------------------------------------------------------------------


def test_a_plain_model_runs_as_it_is(report):
    found = report()

    assert (found.level, found.verdict) == (NOTE, "runs as it is")
    assert said(found) == []
    assert {name: [line for _, line in use.places] for name, use in found.inventory.uses.items()} == {
        "InferenceResponse": [9],
        "Tensor": [9],
        "Tensor.as_numpy": [8],
        "get_input_tensor_by_name": [8],
    }
    assert found.inventory.hooks == {"execute": 5}


def test_names_are_followed_through_aliases_loops_and_functions(report):
    source = """
    from triton_python_backend_utils import InferenceRequest as IR, Logger, get_output_tensor_by_name
    import triton_python_backend_utils as pb
    from triton_python_backend_utils import *

    class TritonPythonModel:
        def execute(self, requests):
            return [self.one(i, r) for i, r in enumerate(requests)]

        def one(self, i, r):
            sender = r.get_response_sender()
            answer = IR(model_name="other", requested_output_names=[], inputs=r.inputs()).exec()
            if answer.has_error():
                Logger.log_error(answer.error().message())
            for tensor in answer.output_tensors():
                tensor.to_dlpack()
            for each in IR(model_name="other").exec(decoupled=True):
                each.error()
            sender.send(pb.InferenceResponse(), flags=pb.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
            family = pb.MetricFamily(name="n", description="d", kind=pb.MetricFamily.COUNTER)
            family.Metric(labels={}).increment(1)
    """
    found = report(source)

    assert set(found.inventory.uses) == {
        "InferenceRequest", "InferenceRequest.exec", "InferenceRequest.get_response_sender",
        "InferenceRequest.inputs", "InferenceResponse", "InferenceResponse.error", "InferenceResponse.has_error",
        "InferenceResponse.output_tensors", "InferenceResponseSender.send", "Logger.log_error", "Metric.increment",
        "MetricFamily", "MetricFamily.COUNTER", "MetricFamily.Metric", "TRITONSERVER_RESPONSE_COMPLETE_FINAL",
        "Tensor.to_dlpack", "TritonError.message",
    }  # fmt: skip
    assert found.level == NOTE
    assert found.inventory.mode == "execute, response senders, calls other models"


def test_its_own_modules_are_looked_at(report):
    source = """
    from .helper import answer
    import other
    class TritonPythonModel:
        def execute(self, requests):
            return [answer(r) for r in requests]
    """
    found = report(
        source,
        helper="import triton_python_backend_utils as pb_utils\ndef answer(r):\n    return pb_utils.Tenser()\n",
        other="import helper, os\nos._exit(1)\n",
    )

    assert [source.path.name for source in found.inventory.sources] == ["model.py", "helper.py", "other.py"]
    assert [(one.level, one.file.name, one.line) for one in found.findings] == [
        (BROKEN, "helper.py", 3),
        (STOCK, "other.py", 2),
    ]


# --- what it would meet --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "level", "reason", "mend"),
    [
        (model("pb_utils.Tenser()"), BROKEN, "there is no pb_utils.Tenser", "did you mean Tensor?"),
        (
            model("for r in requests:\n    r.request_ids()"),
            BROKEN,
            "there is no InferenceRequest.request_ids",
            "did you mean request_id?",
        ),
        (
            model("pb_utils.TritonError('', pb_utils.TritonError.INVALID)"),
            BROKEN,
            "no TritonError.INVALID,",
            "INVALID_ARG",
        ),
        (
            model("from triton_python_backend_utils import get_model_directory"),
            BROKEN,
            "get_model_directory",
            "get_model_dir?",
        ),
        (
            model("try:\n    pb_utils.new()\nexcept AttributeError: pass"),
            LOOK,
            "there is no pb_utils.new",
            "",
        ),
        (
            model("pb_utils.shared_memory.free_memory()"),
            STOCK,
            "shared_memory is the stock backend's own",
            "",
        ),
        (
            model("p = Pool(4)", "from multiprocessing import Pool"),
            STOCK,
            "multiprocessing.Pool forks the server",
            "threads",
        ),
        (
            model("mp.Process()", "import multiprocessing as mp"),
            STOCK,
            "multiprocessing.Process forks",
            "threads",
        ),
        (
            model("C('spawn')", "from multiprocessing import get_context as C"),
            LOOK,
            "starts Python anew",
            "threads",
        ),
        (
            model("f.ProcessPoolExecutor()", "import concurrent.futures as f"),
            STOCK,
            "ProcessPoolExecutor forks",
            "",
        ),
        (model("os.fork()", "import os"), STOCK, "os.fork forks the server", ""),
        (model("os._exit(3)", "import os"), STOCK, "os._exit ends the whole server", "raise an exception"),
        (model("os.kill(os.getpid(), 9)", "import os"), STOCK, "os.kill ends the whole server", ""),
        (model("os.kill(child, 9)", "import os"), LOOK, "the process is the whole server now", ""),
        (model("", "import signal\nsignal.signal(2, print)"), STOCK, "signal.signal works in", "finalize"),
        (model("DataLoader([], num_workers=2)"), STOCK, "DataLoader with num_workers forks", "num_workers=0"),
        (
            model("os.chdir('/x')", "import os"),
            LOOK,
            "os.chdir changes it for the whole server",
            "absolute paths",
        ),
        (
            model("", "import os\nos.environ['CUDA_VISIBLE_DEVICES'] = '1'"),
            LOOK,
            "os.environ['CUDA_VISIBLE_DEVICES'] is the whole server's",
            "where tritonserver is started",
        ),
        (model("np.random.seed(1)", "import numpy as np"), LOOK, "np.random.seed changes it", "default_rng"),
        (
            model("", "import sqlite3", "self.db = sqlite3.connect('x')"),
            LOOK,
            "sqlite3.connect is bound to the thread that runs initialize",
            '"instance_thread" value { string_value: "own" }',
        ),
        (
            model("", "import no_such_package"),
            LOOK,
            "it needs no_such_package, which this Python",
            "pip install",
        ),
        (
            model("try:\n    import no_such_package\nexcept ImportError: pass"),
            NOTE,
            "it may use no_such_package",
            "",
        ),
        (model("", "import sys\nsys.path.append('x')"), NOTE, "sys.path is the model's own", ""),
        (
            model(
                "for r in requests:\n    x = pb_utils.get_input_tensor_by_name(r, 'IN').as_numpy()\n    x[0] = 1"
            ),
            NOTE,
            "its inputs are copied for it",
            "",
        ),
    ],
)
def test_findings(report, source, level, reason, mend):
    [finding] = report(source).findings

    assert finding.level == level
    assert reason in finding.reason
    assert mend in finding.mend
    assert finding.line > 0


def test_the_names_are_those_of_the_module():
    module = utils_module.build(None)

    assert {name for name in vars(module) if not name.startswith("_")} == names.EVERY
    for name, members in names.CLASSES.items():
        cls = getattr(module, name)
        missing = {member for member in members if not hasattr(cls, member)}
        assert missing <= ({"add_note"} if sys.version_info < (3, 11) else set()), name


def test_what_is_bound_to_a_thread_in_execute_alone_is_fine(report):
    assert report(model("sqlite3.connect('x')", "import sqlite3")).level == NOTE


@pytest.mark.parametrize("name", ["float_", "unicode_", "product", "infty", "cumproduct"])
def test_numpy_names_that_are_gone(report, name):
    found = report(model(f"np.{name}", "import numpy as np"))

    if name in vars(np):
        pytest.skip(f"NumPy {np.__version__} has them")
    assert (found.level, found.findings[0].line) == (LOOK, 9)
    assert f"has no np.{name}" in found.findings[0].reason
    assert "write np." in found.findings[0].mend


def test_numpy_names_that_are_there_are_not_named(report):
    kept = (
        "np.float64; np.int32; np.bool_; np.object_; np.trapezoid if hasattr(np, 'trapezoid') else 0; np.isin"
    )
    assert said(report(model(kept, "import numpy as np"))) == []


LOOPS = """
for r in requests:
    for row in range(1000):
        for column in range(1000):
            row * column
"""


@pytest.mark.parametrize(("body", "level"), [(LOOPS, LOOK), ("", NOTE)])
def test_several_instances(report, body, level):
    [finding] = report(model(body), CONFIG + "instance_group { count: 4 kind: KIND_CPU }").findings

    assert finding.level == level
    assert "4 instances" in finding.reason


def test_one_instance_may_loop(report):
    assert said(report(model(LOOPS))) == []


ENVIRONMENT = """
parameters {{ key: "EXECUTION_ENV_PATH" value {{ string_value: "$$TRITON_MODEL_DIRECTORY/{}" }} }}
"""


@pytest.mark.parametrize(
    ("version", "level", "word"),
    [
        ("3.7", STOCK, "is a Python 3.7; the server's process has one Python"),
        ("{}.{}".format(*sys.version_info), LOOK, "its packages go to the end of sys.path"),
        ("", LOOK, "could not be looked into"),
    ],
)
def test_an_environment_of_its_own(report, tmp_path, version, level, word):
    if version:
        (tmp_path / "m" / "env" / "lib" / f"python{version}").mkdir(parents=True)
    [finding] = report(PLAIN, CONFIG + ENVIRONMENT.format("env")).findings

    assert finding.level == level
    assert word in finding.reason


def test_an_environment_with_several_pythons(report, tmp_path):
    for version in ("3.7", "{}.{}".format(*sys.version_info)):
        (tmp_path / "m" / "env" / "lib" / f"python{version}").mkdir(parents=True)
    [finding] = report(PLAIN, CONFIG + ENVIRONMENT.format("env")).findings

    assert "its packages go to the end of sys.path" in finding.reason


@pytest.mark.parametrize(
    "content", [b"", b"no archive", b"\x1f\x8b", gzip.compress(b"x" * 2000, mtime=0)[:-12]]
)
def test_an_environment_that_is_no_archive(report, tmp_path, content):
    (tmp_path / "m").mkdir(exist_ok=True)
    (tmp_path / "m" / "env.tar.gz").write_bytes(content)
    [finding] = report(PLAIN, CONFIG + ENVIRONMENT.format("env.tar.gz")).findings

    assert "could not be looked into" in finding.reason


def test_an_archived_environment(report, tmp_path):
    (tmp_path / "lib" / "python{}.{}".format(*sys.version_info)).mkdir(parents=True)
    (tmp_path / "m").mkdir(exist_ok=True)
    with tarfile.open(tmp_path / "m" / "env.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "lib", "lib")
    [finding] = report(PLAIN, CONFIG + ENVIRONMENT.format("env.tar.gz")).findings

    assert (finding.level, "an archive of a Python" in finding.reason) == (LOOK, True)
    assert finding.reason.endswith("it is not used in process")


def test_the_worst_comes_first(report):
    found = report(
        model("os.chdir('/')\nos._exit(1)\npb_utils.Tenser()", "import os, sys\nsys.path.append('')")
    )

    assert [finding.level for finding in found.findings] == [BROKEN, STOCK, LOOK, NOTE]
    assert found.verdict == "has an error, on the stock backend too"
    assert json.loads(json.dumps(found.as_dict()))["findings"][1]["level"] == "stock"


# --- what takes a wrapper ------------------------------------------------------------------------------------

SENDS = "for r in requests:\n    r.get_response_sender()"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (model(SENDS), "response senders (line 10)"),
        (model("pb_utils.InferenceRequest(model_name='x').exec()"), "it calls other models (line 9)"),
        (model("pb_utils.MetricFamily()"), "metrics of its own"),
        (model("pb_utils.load_model('x')"), "it loads models"),
        (PLAIN.replace("def execute", "async def execute"), "its execute is a coroutine (line 5)"),
        (PLAIN.replace("    def execute", "    @staticmethod\n    def auto_complete_config(c): ...\n    def execute"),
         "it completes its config (line 6)"),
        (PLAIN.replace("TritonPythonModel:", "TritonPythonModel(dict):"), "base classes"),
        (model("", "count = 0", "global count; count = 1"), "globals"),
        (model("cache['x'] = 1", "cache = {}"), "its functions change 'cache'"),
        (PLAIN.replace("    def execute", "    seen = []\n    def more(self): self.seen.append(1)\n    def execute"),
         "it changes 'self.seen' of the class"),
        (model("open(__file__)"), "beside model.py (__file__)"),
        (model("", "", "self.args = args"), "the arguments of initialize is not understood: self.args = args"),
        (model("", "import json", "c = json.loads(args['model_config'])\nc['input'] = []"),
         "it changes its copy of the model's config"),
        (model("log(requests)", "from logging import log"), "a list of InferenceRequest is not understood"),
        (model("responses.append(pb_utils.InferenceResponse())\nresponses.append(None)"), "responses stands for different"),
        (PLAIN.replace("return responses", "return None"), "what execute returns is not understood: return None"),
        (model("by = {0: pb_utils.Tensor('OUT', x)}\nresponses = [pb_utils.InferenceResponse(by[0])]"),
         "what a response's outputs are is not understood"),
        (model("Response = 1\nresponses = [pb_utils.InferenceResponse()]"), "the name Response is taken"),
        (model("code = 1\nresponses = [pb_utils.InferenceResponse(error=pb_utils.TritonError('', code))]"),
         "an error's code is computed"),
        (model("pb_utils.serialize_byte_tensor(x)"), "pb_utils.serialize_byte_tensor has no simple counterpart"),
        (model("x = pb_utils"), "pb_utils is used in a way that is not understood"),
        (model("", "", "instance = 3"), "its initialize has a variable 'instance' of its own"),
        (model("x = requests[0]\nif x:\n    x = pb_utils.Tensor('a', b)\nx.y"), "x stands for different things"),
    ],
)  # fmt: skip
def test_what_is_not_simple_takes_a_wrapper(report, source, reason):
    found = report(source)

    assert found.rewriting.text is None
    assert reason in found.rewriting.reason


def test_a_decoupled_model_takes_a_wrapper(report):
    found = report(PLAIN, CONFIG + "model_transaction_policy { decoupled: true }")

    assert found.rewriting.reason == "it is decoupled"
    assert found.inventory.mode == "execute, decoupled"


# --- where it looks ------------------------------------------------------------------------------------------


def test_the_highest_version_is_taken(tmp_path):
    write(tmp_path / "m", version="2")
    write(tmp_path / "m", "", None, version="10")

    [found] = locate(tmp_path / "m")

    assert (found.name, found.version, found.file.parent.name) == ("m", "10", "10")
    assert "version 10 was looked at, not 2" in found.notes[0]


@pytest.mark.parametrize("place", ["m", "m/1", "m/1/model.py", "."])
def test_places_of_one_model(tmp_path, place):
    write(tmp_path / "m")

    [found] = locate(tmp_path / place)

    assert (found.name, found.version, found.config["backend"]) == ("m", "1", "python")


def test_a_repository(tmp_path):
    for name in ("b", "a"):
        write(tmp_path / name)
    (tmp_path / "onnx" / "1").mkdir(parents=True)

    assert [found.name for found in locate(tmp_path)] == ["a", "b"]


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("nowhere", "a model's folder or its model.py was expected there"),
        ("empty", "looked for model.py, <version>/model.py and <model>/<version>/model.py"),
        ("config.pbtxt", "is no Python file"),
    ],
)
def test_nothing_there(tmp_path, place, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "config.pbtxt").touch()

    with pytest.raises(HandledError, match=message) as caught:
        locate(tmp_path / place)
    assert caught.value.next_step == "tbsdk migrate MODEL_REPOSITORY/NAME"


def test_a_syntax_error_is_named_with_its_line(report):
    with pytest.raises(HandledError, match=r"model\.py, line 3: ") as caught:
        report("x = 1\n\ndef f(:\n")

    assert caught.value.details == ("def f(:",)


def test_another_class(report):
    with pytest.raises(HandledError, match="its classes are Model, Other"):
        report("class Model: ...\nclass Other: ...\n")


def test_the_class_may_come_from_elsewhere(report):
    found = report("from helper import TritonPythonModel\n", helper=PLAIN)

    assert found.level == NOTE
    assert found.inventory.main.path.name == "helper.py"


def test_without_execute(report):
    found = report("class TritonPythonModel:\n    def initialize(self, args): ...\n")

    assert said(found) == [(BROKEN, "TritonPythonModel has no execute", "add it")]


def test_another_backend_and_a_broken_config(tmp_path):
    [other] = locate(write(tmp_path / "a", config='backend: "mine"'))
    [broken] = locate(write(tmp_path / "b", config="backend: %"))
    [without] = locate(write(tmp_path / "c", config=None))

    assert other.notes == ["its config.pbtxt names the backend 'mine'"]
    assert broken.notes == ["its config.pbtxt, line 1: cannot read '%'"]
    assert "no config.pbtxt" in without.notes[0]
