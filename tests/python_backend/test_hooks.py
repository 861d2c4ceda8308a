"""The hooks around execute: what a model.py may have beside it, served by the ready-made backend."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest

from tests.runtime.test_gpu import cuda, on_gpu  # noqa: F401  a fixture
from triton_backend_sdk import TritonError

X = {"IN": np.ones(4, np.float32)}
MODEL = """
class TritonPythonModel:
    @staticmethod
    def auto_complete_config(config):
        {complete}
        return config

    def initialize(self, args):
        self.args = args
        {initialize}

    def execute(self, requests):
        return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", 2 * pb_utils.get_input_tensor_by_name(r, "IN").as_numpy())]) for r in requests]
"""
TENSORS = """
        config.add_input({"name": "IN", "data_type": "TYPE_FP32", "dims": [4]})
        config.add_output({"name": "OUT", "data_type": "TYPE_FP32", "dims": [4]})
"""


def source(complete="pass", initialize="pass"):
    return MODEL.format(complete=complete, initialize=initialize)


def test_a_model_completes_its_config(serve_model):
    served = serve_model(source(TENSORS), inputs={}, outputs={})
    assert served.core.model_config(served.name)["input"][0]["dims"] == [4]
    np.testing.assert_array_equal(served.infer(X)["OUT"], [2] * 4)


def test_why_a_model_cannot_complete_its_config(serve_model):
    with pytest.raises(TritonError) as raised:
        serve_model(source("config.set_max_batch_size(1)"), batch=2, name="too_small")
    text = str(raised.value)
    message = "ValueError: configuration specified max_batch_size 2, but in auto-complete-config function for model 'too_small' specified max_batch_size 1\n\nAt:\n"
    assert message in text
    assert "): auto_complete_config\n" in text

    with pytest.raises(
        TritonError,
        match=r"auto_complete_config function in model 'gives_none' must return a valid pb\.ModelConfig object\.",
    ):
        serve_model(source("return None"), name="gives_none")


def test_a_config_is_completed_apart_from_the_instances(serve_model):
    served = serve_model(
        "import sys\nsys.tb_modules = [*getattr(sys, 'tb_modules', ()), __name__]\n" + source(TENSORS),
        inputs={},
        outputs={},
        instances=2,
    )
    assert len(set(sys.tb_modules)) == 3
    del sys.tb_modules
    served.infer(X)


def test_what_is_said_at_load(serve_model):
    served = serve_model(
        source(),
        instances=3,
        parameters={"EXECUTION_ENV_PATH": "/not/there.tar.gz"},
    )
    served.infer(X)
    (said,) = [line for line in served.log.splitlines() if "EXECUTION_ENV_PATH" in line]
    assert f"model '{served.name}': EXECUTION_ENV_PATH /not/there.tar.gz is not there" in said
    assert "its 3 instances share one Python interpreter" in said
    assert "did you mean" not in served.log


@pytest.mark.parametrize("where", ["at the top", "in initialize"])
def test_a_missing_package_is_told_with_what_to_type(serve_model, where):
    body = source()
    if where == "at the top":
        body = "import not_installed\n" + body
    else:
        body += "\n    def initialize(self, args):\n        import not_installed\n"
    served = serve_model(body, load=False)
    with pytest.raises(TritonError, match="No module named 'not_installed'"):
        served.core.load(served.name)
    assert f"model '{served.name}': no module 'not_installed' beside its model.py" in served.log
    assert f"{sys.executable} -m pip install PACKAGE" in served.log
    assert "_sdk" not in served.log  # no frames of the SDK's own


def test_the_log_tells_what_led_to_an_exception_at_load(serve_model):
    fails = "try:\n            1 / 0\n        except ZeroDivisionError as error:\n            raise ValueError('no good') from error"
    served = serve_model(source(initialize=fails), load=False)
    with pytest.raises(TritonError, match="ValueError: no good"):
        served.core.load(served.name)
    assert "    1 / 0" in served.log
    assert "The above exception was the direct cause of the following exception" in served.log
    assert "plugin.py" not in served.log.split("Traceback", 1)[1]


def test_an_ordinary_model_is_loaded_without_a_word(serve_model):
    served = serve_model(source())
    assert [line for line in served.log.splitlines() if line.startswith("W")] == []


def test_packages_that_a_model_brings_along(serve_model, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    packages = (
        tmp_path
        / "env"
        / "lib"
        / f"python{sys.version_info.major}.{sys.version_info.minor}"
        / "site-packages"
    )
    packages.mkdir(parents=True)
    (packages / "tb_brought.py").write_text("FACTOR = 2\n")
    served = serve_model(
        "from tb_brought import FACTOR\n" + source(TENSORS),
        inputs={},
        outputs={},
        parameters={"EXECUTION_ENV_PATH": str(tmp_path / "env")},
    )
    served.infer(X)
    assert f"the packages of EXECUTION_ENV_PATH {tmp_path / 'env'} are on sys.path" in served.log
    del sys.modules["tb_brought"]


def test_force_cpu_only_is_checked(serve_model):
    with pytest.raises(TritonError, match="Incorrect value for FORCE_CPU_ONLY_INPUT_TENSORS: maybe'"):
        serve_model(source(), parameters={"FORCE_CPU_ONLY_INPUT_TENSORS": "maybe"})


READY = """
    def is_ready(self):
        return {answer}
"""


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (READY.format(answer="True"), None),
        (READY.format(answer="False"), "is_ready returned False"),
        (READY.format(answer="1"), "is_ready() must return a boolean value"),
        (READY.replace("def", "async def").format(answer="False"), "is_ready returned False"),
        (READY.format(answer="1 // 0"), "ZeroDivisionError"),
        ("", None),
    ],
)
def test_readiness(serve_model, more, said):
    served = serve_model(source() + more)
    assert (said is None) == ("not ready" not in served.log)
    assert said is None or said in served.log
    served.infer(X)


def test_what_initialize_is_told(serve_model):
    served = serve_model("import sys\n" + source(initialize="sys.tb_args = args"), batch=4)
    told = sys.tb_args
    del sys.tb_args
    folder = served.repository / served.name
    assert {key: told[key] for key in told if key != "model_config"} == {
        "model_instance_kind": "CPU",
        "model_instance_name": f"{served.name}_0_0",
        "model_instance_device_id": "0",
        "model_repository": str(folder),
        "model_version": "1",
        "model_name": served.name,
    }
    assert '"max_batch_size":4' in told["model_config"]


def test_the_model_dir(serve_model):
    served = serve_model(
        "import sys\n"
        + source("sys.tb_dirs = [pb_utils.get_model_dir()]", "sys.tb_dirs.append(pb_utils.get_model_dir())")
    )
    assert sys.tb_dirs == [str(served.repository / served.name / "1")] * 2
    del sys.tb_dirs


@pytest.mark.parametrize(("forced", "on_cpu"), [(None, True), ("yes", True), ("no", False)])
def test_inputs_on_a_gpu(serve_model, cuda, monkeypatch, forced, on_cpu):  # noqa: F811
    on_gpu(monkeypatch, X["IN"])
    served = serve_model(
        """
        class TritonPythonModel:
            def execute(self, requests):
                tensor = requests[0].inputs()[0]
                told = [float(tensor.is_cpu())]
                told += list(tensor.as_numpy()) if tensor.is_cpu() else []
                return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.array(told, np.float32))])]
        """,
        parameters={"FORCE_CPU_ONLY_INPUT_TENSORS": forced} if forced else {},
    )
    assert served.infer(X)["OUT"].tolist() == ([1, 1, 1, 1, 1] if on_cpu else [0])


def test_log_and_metrics_where_the_stock_backend_has_none(serve_model):
    served = serve_model(
        "pb_utils.Logger.log_warn('at import')\n"
        "family = pb_utils.MetricFamily('tb_at_import', '', pb_utils.MetricFamily.COUNTER)\n"
        "family.Metric().increment(2)\n"
        + source("pb_utils.Logger.log_warn('while completing'); family.Metric().increment(3)" + TENSORS),
        inputs={},
        outputs={},
        core_options={"metrics": True},
    )
    served.infer(X)
    assert served.log.count("at import") == 2  # once more to complete the config, as in the stock backend
    assert served.log.count("while completing") == 1
    assert re.findall(r"^tb_at_import (.*)$", served.core.metrics_text(), re.MULTILINE) == ["2"]


def test_is_ready_runs_on_the_loop_of_execute(serve_model):
    served = serve_model(
        """
        import asyncio, sys
        sys.tb_loops = loops = []

        class TritonPythonModel:
            async def is_ready(self):
                loops.append(asyncio.get_running_loop())
                return True

            async def execute(self, requests):
                loops.append(asyncio.get_running_loop())
                return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.zeros(1, np.float32))]) for _ in requests]
        """
    )
    served.infer(X)
    assert len(sys.tb_loops) >= 2
    assert len(set(sys.tb_loops)) == 1
    del sys.tb_loops
