import shutil
import time

import numpy as np
import pytest

from triton_backend_sdk.cli import run
from triton_backend_sdk.tools.client import infer
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.templates import new_project


@pytest.fixture
def project(tmp_path):
    return new_project("scale", tmp_path).root


def test_the_default_place_and_how_to_use_it(project, monkeypatch, capsys):
    monkeypatch.chdir(project / "scale")

    assert run(["build"]) == 0

    target = project / "build" / "backends" / "scale"
    assert (target / "libtriton_scale.so").is_file()
    assert (target / "scale" / "plugin.py").is_file()
    printed = capsys.readouterr().out
    assert printed.startswith("built scale in ")
    assert f"  cp -r {target} /opt/tritonserver/backends/\n" in printed
    assert f"tritonserver --backend-directory={target.parent} --model-repository={project}/mod" in printed


def test_another_place(project, tmp_path):
    run(["build", str(project), "-o", str(tmp_path / "backends")])

    assert (tmp_path / "backends" / "scale" / "libtriton_scale.so").is_file()
    assert not (project / "build").exists()


def test_where_the_server_looks_already(project, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("triton_backend_sdk.cli.build.IMAGE_ROOT", tmp_path)

    run(["build", str(project), "-o", str(tmp_path / "backends")])

    printed = capsys.readouterr().out
    assert "A server that is started now finds it there." in printed
    assert "cp -r" not in printed


def test_link(project, capsys):
    run(["build", str(project), "--link"])

    assert (project / "build" / "backends" / "scale" / "scale").resolve() == project / "scale"
    assert f"-> {project}/scale\n" in capsys.readouterr().out


def test_nothing_changed_takes_under_a_second(project):
    run(["build", str(project)])
    start = time.perf_counter()

    run(["build", str(project)])

    assert time.perf_counter() - start < 1


def test_a_key_of_tool_tbsdk_that_is_wrong(project):
    with (project / "pyproject.toml").open("a") as file:
        file.write('[tool.tbsdk.execution-policy]\nis = "fast"\n')

    with pytest.raises(HandledError, match=r"execution-policy is .* it can be blocking or device-blocking"):
        run(["build", str(project)])

    assert not (project / "build").exists()


def test_no_project(tmp_path):
    with pytest.raises(HandledError, match="no backend project in"):
        run(["build", str(tmp_path)])


def test_what_was_built_works_without_its_project(project, tmp_path, tritonserver):
    out = tmp_path / "elsewhere"
    run(["build", str(project), "-o", str(out)])
    models = shutil.copytree(project / "model_repository", tmp_path / "models")
    shutil.rmtree(project)

    server = tritonserver(out / "scale", models)

    answer = infer(server.http_url, "http", "scale", {"IN": np.float32([[1, 2, 3]])})
    assert answer.outputs["OUT"].tolist() == [[2, 4, 6]]
