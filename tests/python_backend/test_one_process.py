"""What models share in a real server, as the guide says: a log, an environment, and no main thread."""

from __future__ import annotations

import numpy as np
import pytest

from tests.runtime.conftest import wait_for

pytest.importorskip("tritonclient.http")

CONFIG = """
backend: "python_inprocess"
input [{ name: "IN" data_type: TYPE_FP32 dims: [ 1 ] }]
output [{ name: "OUT" data_type: TYPE_STRING dims: [ -1 ] }]
instance_group [{ kind: KIND_CPU }]
"""
SAYS = """
import logging
import os
import warnings

logging.basicConfig(level=logging.DEBUG, format="another format: %(message)s")
logger = logging.getLogger(__name__)


class TritonPythonModel:
    def initialize(self, args):
        os.environ["SET_BY_A_MODEL"] = "for all of them"
        logger.info("an info of the module's logger")
        logger.debug("a debug that nobody asked for")
        logging.getLogger("its_own").warning("a warning of a logger of its own")
        warnings.warn("a warning of warnings")
        print("a line that is printed", flush=True)

    def execute(self, requests):
        raise NotImplementedError
"""
KNOWS = """
import os
import signal
import threading

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        self.thread = threading.get_ident()

    def execute(self, requests):
        try:
            signal.signal(signal.SIGALRM, signal.SIG_IGN)
            may = "may"
        except ValueError as error:
            may = str(error)
        facts = [
            os.environ.get("SET_BY_A_MODEL", ""),
            "main" if threading.current_thread() is threading.main_thread() else "not the main thread",
            "the same thread" if self.thread == threading.get_ident() else "another thread",
            may,
        ]
        out = pb_utils.Tensor("OUT", np.array(facts, dtype=object))
        return [pb_utils.InferenceResponse([out]) for _ in requests]
"""


def write(repository, name, source, extra=""):
    (repository / name / "1").mkdir(parents=True)
    (repository / name / "config.pbtxt").write_text(CONFIG + extra)
    (repository / name / "1" / "model.py").write_text(source)


def ask(server, model):
    from tritonclient import http

    tensor = http.InferInput("IN", [1], "FP32")
    tensor.set_data_from_numpy(np.zeros(1, np.float32))
    with http.InferenceServerClient(server.http_url.removeprefix("http://")) as client:
        return [item.decode() for item in client.infer(model, [tensor]).as_numpy("OUT").tolist()]


def test_models_share_the_log_the_environment_and_no_main_thread(tritonserver, tmp_path):
    write(tmp_path, "a_says", SAYS)
    write(tmp_path, "b_knows", KNOWS)
    write(
        tmp_path,
        "c_own",
        KNOWS,
        'parameters { key: "instance_thread" value { string_value: "own" } }',
    )
    server = tritonserver(model_repository=tmp_path, compat=True)
    environment, main, thread, signals = ask(server, "b_knows")
    assert environment == "for all of them"
    assert main == "not the main thread"
    assert thread == "another thread"
    assert signals.startswith("signal only works in main thread")
    assert ask(server, "c_own")[1:3] == ["not the main thread", "the same thread"]
    log = server.log_text()
    for text in (
        "an info of the module's logger",
        "its_own: a warning of a logger of its own",
        "UserWarning: a warning of warnings",
        "a line that is printed",
    ):
        assert text in log, text
    assert "another format" not in log  # the root logger has a handler, so basicConfig does nothing
    assert "a debug that nobody asked for" not in log


SILENCES = """
import logging
import logging.config

logging.config.dictConfig({
    "version": 1,
    "handlers": {"its": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"}},
    "root": {"level": "WARNING", "handlers": ["its"]},
})


class TritonPythonModel:
    def execute(self, requests):
        raise SystemExit("the end of this model")
"""


def test_a_models_logging_config_does_not_silence_its_neighbours(tritonserver, tmp_path):
    from tritonclient.utils import InferenceServerException

    write(tmp_path, "a_fails", "class TritonPythonModel:\n    def execute(self, requests):\n        1 / 0\n")
    write(tmp_path, "b_silences", SILENCES)
    server = tritonserver(model_repository=tmp_path, compat=True)
    for model, said in (("b_silences", "the end of this model"), ("a_fails", "division by zero")):
        with pytest.raises(InferenceServerException, match=said):
            ask(server, model)
        wait_for(lambda said=f"{model}_0_0: execute failed": said in server.log_text())
