"""The three Dockerfiles, really built, and their images really asked.

They need a docker engine and the two images that they start from, NVIDIA's or stand-ins with apt, named by
TBSDK_TEST_FULL_IMAGE (with /opt/tritonserver and Python) and TBSDK_TEST_MIN_IMAGE (without either).
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path

import pytest

from triton_backend_sdk.tools.build import build_backend
from triton_backend_sdk.tools.dockerfile import STYLES, Image
from triton_backend_sdk.tools.ports import choose_ports
from triton_backend_sdk.tools.project import Project
from triton_backend_sdk.tools.templates import new_project

SDK = Path(__file__).parents[2]
IMAGES = ("TBSDK_TEST_FULL_IMAGE", "TBSDK_TEST_MIN_IMAGE")

pytestmark = pytest.mark.timeout(900)


def run(*command: str, **kwargs) -> str:
    result = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, **kwargs)
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
    return result.stdout.strip()


@pytest.fixture(scope="module")
def images():
    missing = [name for name in IMAGES if not os.environ.get(name)]
    if missing:
        pytest.skip(f"no image to start from: set {' and '.join(missing)}")
    if shutil.which("docker") is None:
        pytest.skip("no docker on PATH")
    engine = subprocess.run(["docker", "version"], capture_output=True, timeout=60, check=False)
    if engine.returncode != 0:
        pytest.skip("no docker engine answers: start one, or set DOCKER_HOST")
    return [os.environ[name] for name in IMAGES]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    root = new_project("scale", tmp_path_factory.mktemp("image")).root
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(root / "wheels"), str(SDK))
    return Project.find(root)


@pytest.fixture
def tag():
    name = f"tbsdk-test-{uuid.uuid4().hex[:12]}"
    yield name
    subprocess.run(["docker", "rm", "-f", name], capture_output=True, timeout=60, check=False)
    subprocess.run(["docker", "rmi", name], capture_output=True, timeout=60, check=False)


@pytest.mark.parametrize("style", STYLES)
def test_the_image_serves_the_backend(style, images, project, tag, tmp_path):
    full, small = images
    image = Image(project.name, project.requirements, full=full, base=small)
    context = project.root
    if style == "stanza":
        code = "import sysconfig; print(sysconfig.get_python_version())"
        python = run("docker", "run", "--rm", full, "python3", "-c", code)
        if python != sysconfig.get_python_version():
            pytest.skip(f"{full} has Python {python}, another than this one")
        context = build_backend(project, tmp_path).parent
    command = ["docker", "build", "--network=host", "-t", tag, "-f", "-", str(context)]
    run(*command, input=STYLES[style](image), env={**os.environ, "DOCKER_BUILDKIT": "1"})

    assert infer(tag, project.model_repository) == [2, 4, 6]


def infer(tag: str, models: Path) -> list[float]:
    port = choose_ports({"http": None})["http"]
    flags = ["--http-address=127.0.0.1", f"--http-port={port}", "--allow-grpc=false", "--allow-metrics=false"]
    container = ["docker", "run", "-d", "--network=host", "--name", tag, "-v", f"{models}:/models", tag]
    run(*container, "tritonserver", "--model-repository=/models", *flags)
    body = {"inputs": [{"name": "IN", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]}
    url, deadline = f"http://127.0.0.1:{port}/v2/models/scale/infer", time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(url, json.dumps(body).encode(), timeout=10) as answer:
                return json.load(answer)["outputs"][0]["data"]
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > deadline:
                raise AssertionError(run("docker", "logs", tag)) from None
            time.sleep(0.5)
