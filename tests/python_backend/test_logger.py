"""``pb_utils.Logger``: the message as it is, from the model's own line, at its level."""

from __future__ import annotations

import re

import numpy as np
import pytest

from triton_backend_sdk.python_backend import pb_logger
from triton_backend_sdk.python_backend.pb_logger import Logger

X = {"IN": np.zeros(1, np.float32)}
MODEL = """
class TritonPythonModel:
    def initialize(self, args):
        pb_utils.Logger.log_info("in initialize")

    def execute(self, requests):
        logger = pb_utils.Logger
{act}
        return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.zeros(1, np.float32))]) for _ in requests]

    def finalize(self):
        pb_utils.Logger.log_error("in finalize")
"""


def said(served):
    """Give level, file, line and message of what the model logged."""
    return re.findall(r"^([IWE]).* (model\.py):(\d+)\] (.*)$", served.log, re.MULTILINE)


def acting(*acts):
    return MODEL.format(act="\n".join(f"        {act}" for act in acts))


LEVELS = [
    'logger.log("plain")',
    'logger.log("named", level=logger.WARNING)',
    'logger.log("placed", logger.ERROR)',
    'logger.log_info("info")',
    'logger.log_warn("warn")',
    'logger.log_error(message="error")',
    'logger.log_verbose("verbose")',
    'logger.log("verbose too", pb_utils.Logger.LogLevel.VERBOSE)',
]


@pytest.mark.parametrize("verbose", [0, 1])
def test_levels_files_and_lines(serve_model, verbose):
    served = serve_model(acting(*LEVELS), core_options={"log_verbose": verbose})
    served.infer(X)
    lines = [(level, int(line), message.strip('"')) for level, _, line, message in said(served)]
    expected = [
        ("I", 6, "in initialize"),
        ("I", 10, "plain"),
        ("W", 11, "named"),
        ("E", 12, "placed"),
        ("I", 13, "info"),
        ("W", 14, "warn"),
        ("E", 15, "error"),
    ]
    if verbose:
        expected += [("I", 16, "verbose"), ("I", 17, "verbose too")]
    assert lines == expected
    served.core.unload(served.name)
    assert said(served)[-1][3].strip('"') == "in finalize"


def test_odd_texts(serve_model):
    served = serve_model(
        acting('logger.log_info("")', 'logger.log_info("a\\nb %s \\udc80 ü")', 'logger.log_info(b"bytes")')
    )
    served.infer(X)
    messages = [message for *_, message in said(served)][1:]
    assert messages[0].strip('"') == ""
    assert "b %s ? ü" in served.log
    assert messages[-1].strip('"') == "bytes"


@pytest.mark.parametrize(
    "call",
    [lambda: Logger.log_info(5), lambda: Logger.log(None), lambda: Logger.log("x", 0), Logger.log_warn,
     lambda: Logger.log("x", "INFO"), lambda: Logger.log_error("a", "b")],
)  # fmt: skip
def test_wrong_arguments(call):
    with pytest.raises(TypeError):
        call()


def test_levels_are_those_of_the_stock_backend():
    assert [int(level) for level in (Logger.INFO, Logger.WARNING, Logger.ERROR, Logger.VERBOSE)] == [
        0,
        1,
        2,
        3,
    ]
    assert str(Logger.INFO) == "LogLevel.INFO"
    with pytest.raises(TypeError, match=r"c_python_backend_utils\.Logger: No constructor defined!"):
        Logger()
    assert pb_logger.names(None)["Logger"] is Logger


def test_a_thread_of_the_models_logs_too(serve_model):
    served = serve_model(
        acting(
            "import threading",
            "thread = threading.Thread(target=logger.log_info, args=('in a thread',))",
            "thread.start(); thread.join()",
        )
    )
    other = serve_model(acting("logger.log_info('other')"), beside=served)
    served.infer(X)
    other.infer(X)
    assert "in a thread" in served.log
