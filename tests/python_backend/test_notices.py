"""What is said at load, readiness, and what a model is told of itself."""

from __future__ import annotations

import asyncio
import gzip
import inspect
import json
import logging
import sys
import tarfile

import pytest

from triton_backend_sdk import Backend, InternalError, Model, ModelInstance, UnsupportedError, configure
from triton_backend_sdk.enums import InstanceGroupKind
from triton_backend_sdk.python_backend.arguments import initialize_arguments, model_dir
from triton_backend_sdk.python_backend.environment import environment
from triton_backend_sdk.python_backend.input_memory import forces_cpu, keep_on_cpu
from triton_backend_sdk.python_backend.notices import backend_notices, model_notices
from triton_backend_sdk.python_backend.readiness import is_ready

OWN = f"{sys.version_info.major}.{sys.version_info.minor}"
STOCK = "the stock Python backend"


@pytest.fixture
def model(tmp_path):
    def make(parameters=None, **config):
        texts = {key: {"string_value": value} for key, value in (parameters or {}).items()}
        config = {"parameters": texts, "instance_group": [{"count": 1, "kind": "KIND_CPU"}], **config}
        return Model("m", 3, tmp_path / "m", config, Backend("python", {}, tmp_path))

    return make


@pytest.fixture
def folder(tmp_path):
    """Make an environment's folder with one package, for a version of Python."""

    def make(version):
        packages = tmp_path / "m" / "env" / "lib" / f"python{version}" / "site-packages"
        packages.mkdir(parents=True)
        (packages / "brought_along.py").write_text("here = True\n")
        return tmp_path / "m" / "env"

    return make


@pytest.fixture
def path_restored():
    before = list(sys.path)
    yield
    sys.path[:] = before
    sys.modules.pop("brought_along", None)


def test_an_ordinary_server_gets_one_line():
    assert len(backend_notices({"auto-complete-config": "true", "backend-directory": "/x"})) == 1


def test_the_stock_backends_keys_get_one_line_that_names_those_given():
    config = {"shm-default-byte-size": "no number", "thread-pool-size": "0", "mine": "1"}
    _, line = backend_notices(config)
    assert line.startswith("shm-default-byte-size, thread-pool-size: ")
    assert "mine" not in line


def test_an_ordinary_model_gets_no_line(model):
    assert model_notices(model()) is None
    assert model_notices(model(instance_group=[{"count": 4, "kind": "KIND_GPU", "gpus": [0]}])) is None


def test_several_instances_on_the_cpu(model):
    groups = [{"count": 2, "kind": "KIND_CPU"}, {"kind": "KIND_CPU"}]
    line = model_notices(model(instance_group=groups))
    assert "model 'm': its 3 instances" in line
    assert STOCK in line


def test_an_environment_for_another_python(model, folder, tmp_path):
    folder("3.6")
    brought = {"EXECUTION_ENV_PATH": "$$TRITON_MODEL_DIRECTORY/env"}
    line = model_notices(model(brought, instance_group=[{"count": 2, "kind": "KIND_CPU"}]))
    assert (
        f"EXECUTION_ENV_PATH {tmp_path / 'm' / 'env'} has Python 3.6, and the model runs in the server's Python {OWN}"
        in line
    )
    assert line.count("\n") == 0
    assert "; its 2 instances" in line
    assert STOCK in line
    assert environment(model(brought)).adopt() is False


def test_an_environment_for_this_python_is_added_to_the_path(model, folder, path_restored):
    root = folder(OWN)
    (root / "lib" / "python3.6").mkdir()
    ours = model({"EXECUTION_ENV_PATH": str(root)})
    before = list(sys.path)
    found = environment(ours)
    assert found.adopt()
    assert found.adopt()
    assert sys.path == [*before, str(root / "lib" / f"python{OWN}" / "site-packages")]
    import brought_along

    assert brought_along.here
    assert "are on sys.path" in model_notices(ours)


@pytest.mark.parametrize(
    ("version", "said"), [("3.6", "has Python 3.6"), (OWN, "unpack it and name the folder")]
)
@pytest.mark.parametrize("compression", ["", "gz"])
def test_an_archive(model, folder, tmp_path, version, said, compression):
    folder(version)
    archive = tmp_path / "env.tar"
    with tarfile.open(archive, f"w:{compression}") as file:
        file.add(tmp_path / "m" / "env", ".")
    brought = model({"EXECUTION_ENV_PATH": str(archive)})
    assert environment(brought).version == version
    assert said in model_notices(brought)
    assert environment(brought).adopt() is False


def test_an_archive_is_looked_into_for_a_limited_time(model, tmp_path, monkeypatch, folder):
    folder("3.6")
    with tarfile.open(tmp_path / "env.tar", "w") as file:
        file.add(tmp_path / "m" / "env", "env")
    monkeypatch.setattr("triton_backend_sdk.python_backend.environment._LOOK_SECONDS", -1.0)
    assert environment(model({"EXECUTION_ENV_PATH": str(tmp_path / "env.tar")})).version is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "is not there"),
        (b"no archive", "has no Python that can be told"),
        (b"", "has no Python that can be told"),
        (b"\x1f\x8b", "has no Python that can be told"),
        (gzip.compress(b"x" * 2000, mtime=0)[:-12], "has no Python that can be told"),
    ],
)
def test_no_environment(model, tmp_path, content, said):
    path = tmp_path / "env.tar.gz"
    if content is not None:
        path.write_bytes(content)
    line = model_notices(model({"EXECUTION_ENV_PATH": str(path)}))
    assert said in line
    assert STOCK in line


@pytest.mark.parametrize(("value", "expected"), [(None, True), ("yes", True), ("no", False)])
def test_force_cpu_only(model, value, expected):
    assert forces_cpu(model({"FORCE_CPU_ONLY_INPUT_TENSORS": value} if value else {})) is expected


TENSORS = [
    {"name": "A", "data_type": "TYPE_FP32", "dims": [1]},
    {"name": "B", "data_type": "TYPE_STRING", "dims": [1]},
    {"name": "C", "data_type": "TYPE_FP32", "dims": [1]},
]


@pytest.mark.parametrize(("value", "expected"), [("yes", "cpu"), ("no", None)])
def test_inputs_are_wished_onto_the_cpu(model, value, expected):
    ours = model({"FORCE_CPU_ONLY_INPUT_TENSORS": value, "memory.C": "gpu"}, input=TENSORS)
    keep_on_cpu(ours)
    assert [ours.parameters.get(f"memory.{name}") for name in "ABC"] == [expected, "cpu", "gpu"]


@pytest.mark.parametrize("value", ["", "Yes", "true"])
def test_force_cpu_only_is_yes_or_no(model, value):
    with pytest.raises(UnsupportedError) as raised:
        forces_cpu(model({"FORCE_CPU_ONLY_INPUT_TENSORS": value}))
    assert str(raised.value) == f"Incorrect value for FORCE_CPU_ONLY_INPUT_TENSORS: {value}'"


def test_the_sdk_takes_these_parameters_for_no_misspelling(model, caplog):
    with caplog.at_level(logging.DEBUG):
        configure.declare(model({"EXECUTION_ENV_PATH": "/x", "FORCE_CPU_ONLY_INPUT_TENSORS": "no"}), None)
    assert caplog.records == []


class Ready:
    def __init__(self, answer):
        self.is_ready = answer


class Later:
    def __init__(self, answer):
        self._answer = answer

    async def is_ready(self):
        await asyncio.sleep(0)
        return self._answer


def asked(model):
    answer = is_ready(model)
    return asyncio.run(answer) if inspect.isawaitable(answer) else answer


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (object(), True),
        (Ready(lambda: True), True),
        (Ready(lambda: False), False),
        (Later(True), True),
        (Later(False), False),
    ],
)
def test_is_ready(model, expected):
    assert asked(model) is expected


@pytest.mark.parametrize(
    "model", [Ready(lambda: None), Ready(lambda: 1), Ready(lambda: "yes"), Later(None), Later(0)]
)
def test_is_ready_gives_a_bool(model):
    with pytest.raises(InternalError) as raised:
        asked(model)
    assert str(raised.value) == "is_ready() must return a boolean value"


def test_is_ready_that_raises():
    with pytest.raises(ZeroDivisionError):
        asked(Ready(lambda: 1 // 0))


def test_what_initialize_is_told(model, tmp_path):
    ours = model()
    instance = ModelInstance("m_0_1", InstanceGroupKind.GPU, 2, ours)
    told = initialize_arguments(instance)
    assert json.loads(told.pop("model_config")) == ours.config
    assert told == {
        "model_instance_kind": "GPU",
        "model_instance_name": "m_0_1",
        "model_instance_device_id": "2",
        "model_repository": str(tmp_path / "m"),
        "model_version": "3",
        "model_name": "m",
    }


def test_the_model_dir_is_the_versions(model, tmp_path):
    assert model_dir(model()) == str(tmp_path / "m" / "3")
    assert model_dir(model(default_model_filename="other.py")) == str(tmp_path / "m" / "3")
