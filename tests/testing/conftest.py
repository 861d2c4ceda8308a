"""The real core, and under it a backend in C that has no interpreter to blame."""

import shutil
import subprocess
from pathlib import Path

import pytest

from triton_backend_sdk.testing import TritonCore
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.server import find_server

CONFIG = """
backend: "echo"
max_batch_size: 0
input {{ name: "IN" data_type: TYPE_{dtype} dims: [ -1 ] }}
output {{ name: "OUT" data_type: TYPE_{dtype} dims: [ -1 ] }}
"""


#: Two steps, of which Triton makes two child traces.
ENSEMBLE = """
platform: "ensemble"
max_batch_size: 0
input { name: "IN" data_type: TYPE_FP32 dims: [ -1 ] }
output { name: "OUT" data_type: TYPE_FP32 dims: [ -1 ] }
ensemble_scheduling {
  step { model_name: "echo" model_version: -1
    input_map { key: "IN" value: "IN" } output_map { key: "OUT" value: "half" } }
  step { model_name: "echo" model_version: -1
    input_map { key: "IN" value: "half" } output_map { key: "OUT" value: "OUT" } }
}
"""


def add_model(repository: Path, name: str, dtype: str = "FP32", extra: str = "") -> None:
    write_config(repository, name, CONFIG.format(dtype=dtype) + extra)


def write_config(repository: Path, name: str, text: str) -> None:
    (repository / name / "1").mkdir(parents=True)
    (repository / name / "config.pbtxt").write_text(text)


@pytest.fixture(scope="session")
def echo(tmp_path_factory):
    """Give the backend directory and the model repository."""
    try:
        library = find_server().library
    except HandledError as error:
        pytest.skip(str(error))
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler: apt-get install gcc")
    root = tmp_path_factory.mktemp("echo")
    (root / "backends" / "echo").mkdir(parents=True)
    source = Path(__file__).parent / "echo_backend.c"
    target = root / "backends" / "echo" / "libtriton_echo.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-pthread", "-o", target, source, library], check=True
    )
    add_model(root / "models", "echo")
    add_model(root / "models", "strings", "STRING")
    add_model(root / "models", "stream", extra="model_transaction_policy { decoupled: true }")
    write_config(root / "models", "pair", ENSEMBLE)
    return root / "backends", root / "models"


@pytest.fixture
def core(echo):
    backends, models = echo
    with TritonCore(models, backends) as core:
        core.load("echo")
        yield core
        assert core.wait_released(), core.live_objects()
