import shutil
import time

import click
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


def test_compat_needs_no_project(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    run(["build", "--compat"])

    target = tmp_path / "build" / "backends" / "python_inprocess"
    assert (target / "libtriton_python_inprocess.so").is_file()
    assert (target / "python_inprocess" / "plugin.py").is_file()
    printed = capsys.readouterr().out
    assert 'change one line:\n  backend: "python_inprocess"\n' in printed
    assert f"  cp -r {target} /opt/tritonserver/backends/\n" in printed


def test_compat_in_the_stock_backends_place(tmp_path, capsys):
    run(["build", "--compat", "--name", "python", "-o", str(tmp_path)])

    assert (tmp_path / "python" / "libtriton_python.so").is_file()
    assert (tmp_path / "python" / "python" / "plugin.py").is_file()
    printed = capsys.readouterr().out
    assert "no config changes" in printed
    assert f"tritonserver --backend-directory={tmp_path} --model-repository=REPOSITORY" in printed
    assert "cp -r" not in printed  # it would mix with the stock one


def test_the_stock_backend_is_not_overwritten(tmp_path):
    stock = tmp_path / "python"
    stock.mkdir()
    for name in ("libtriton_python.so", "triton_python_backend_stub", "triton_python_backend_utils.py"):
        (stock / name).write_text("stock")

    with pytest.raises(HandledError, match="holds Triton's own Python backend") as caught:
        run(["build", "--compat", "--name", "python", "-o", str(tmp_path)])

    assert f"mv {stock} {stock}.stock" in str(caught.value.next_step)
    assert {path.read_text() for path in stock.iterdir()} == {"stock"}
    stock.rename(tmp_path / "python.stock")
    assert run(["build", "--compat", "--name", "python", "-o", str(tmp_path)]) == 0
    assert run(["build", "--compat", "--name", "python", "-o", str(tmp_path)]) == 0  # over its own it may


def test_what_somebody_else_put_there_is_not_overwritten(tmp_path):
    (tmp_path / "python_inprocess").mkdir()
    (tmp_path / "python_inprocess" / "libtriton_python_inprocess.so").write_text("theirs")

    with pytest.raises(HandledError, match="was not made by tbsdk build"):
        run(["build", "--compat", "-o", str(tmp_path)])

    assert (tmp_path / "python_inprocess" / "libtriton_python_inprocess.so").read_text() == "theirs"


@pytest.mark.parametrize(
    ("name", "why"),
    [("json", "standard library"), ("My-One", "small letters"), ("numpy", "installed package")],
)
def test_names_that_compat_cannot_have(tmp_path, name, why):
    with pytest.raises(HandledError, match=why) as caught:
        run(["build", "--compat", "--name", name, "-o", str(tmp_path)])

    assert "leave --name out" in str(caught.value.next_step)
    assert not any(tmp_path.iterdir())


def test_a_project_has_its_name(project):
    with pytest.raises(click.UsageError, match="--name belongs to --compat"):
        run(["build", str(project), "--name", "other"])


def test_compat_takes_no_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(click.UsageError, match="leave models out") as caught:
        run(["build", "--compat", "models"])
    assert "tbsdk serve --compat models" in caught.value.message
    assert not any(tmp_path.iterdir())
