"""batchstrategy.so: there where it is wanted, and the same library as the backend's own."""

import ctypes
import os
import shutil
import subprocess

import pytest

from triton_backend_sdk.tools.build import build_backend
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.project import Project

HOOK = "@hookimpl\ndef batch_include(request): return True\n"
RULE = 'parameters { key: "max_batch_bytes" value { string_value: "9" } }'


def project(root, plugin="", config="", settings=""):
    (root / "p" / "p").mkdir(parents=True, exist_ok=True)
    (root / "p" / "model_repository" / "m" / "1").mkdir(parents=True, exist_ok=True)
    (root / "p" / "p" / "__init__.py").touch()
    (root / "p" / "p" / "plugin.py").write_text(plugin)
    (root / "p" / "model_repository" / "m" / "config.pbtxt").write_text(config)
    (root / "p" / "pyproject.toml").write_text(f'[tool.tbsdk]\nbackend = "p"\n{settings}')
    return Project.find(root / "p")


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, False),
        ({"plugin": HOOK}, True),
        ({"config": RULE}, True),
        ({"settings": "batcher = true"}, True),
        ({"plugin": HOOK, "config": RULE, "settings": "batcher = false"}, False),
    ],
)
def test_it_is_there_where_it_is_wanted(tmp_path, given, wanted):
    target = build_backend(project(tmp_path, **given), tmp_path / "out")

    assert (target / "batchstrategy.so").is_symlink() == wanted
    if wanted:
        assert (
            os.readlink(target / "batchstrategy.so") == "libtriton_p.so"
        )  # relative: the directory may move


def test_a_build_takes_it_away_again(tmp_path):
    build_backend(project(tmp_path, plugin=HOOK), tmp_path / "out")

    target = build_backend(project(tmp_path), tmp_path / "out")

    assert not os.path.lexists(target / "batchstrategy.so")


@pytest.mark.parametrize("wanted", ["", HOOK])
def test_an_authors_own_stays(tmp_path, wanted):
    target = build_backend(project(tmp_path), tmp_path / "out")
    (target / "batchstrategy.so").write_text("his")

    build_backend(project(tmp_path, plugin=wanted), tmp_path / "out")

    assert (target / "batchstrategy.so").read_text() == "his"


def test_it_is_the_same_library_also_where_the_directory_was_copied(tmp_path):
    built = build_backend(project(tmp_path, plugin=HOOK), tmp_path / "out")
    subprocess.run(["cp", "-r", built, tmp_path / "copied"], check=True)
    shutil.copytree(built, tmp_path / "tree", symlinks=True)

    for target in (built, tmp_path / "copied", tmp_path / "tree"):
        link, library = ctypes.CDLL(target / "batchstrategy.so"), ctypes.CDLL(target / "libtriton_p.so")
        assert link._handle == library._handle
        for name in ("ModelBatcherInitialize", "ModelBatchInitialize", "ModelBatchIncludeRequest"):
            assert hasattr(link, f"TRITONBACKEND_{name}")


def test_what_is_no_boolean(tmp_path):
    with pytest.raises(HandledError, match="batcher is 'yes'; it can be true or false"):
        build_backend(project(tmp_path, settings="batcher = 'yes'"), tmp_path / "out")
