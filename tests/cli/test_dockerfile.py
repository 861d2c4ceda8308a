import sysconfig

import click
import pytest

from triton_backend_sdk._version import __version__
from triton_backend_sdk.cli import dockerfile, run
from triton_backend_sdk.tools.dockerfile import Image, render_build, render_minimal, render_stanza
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.templates import new_project

REQUIREMENTS = ["numpy>=1.26"]


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setattr(dockerfile, "sdk_checkout", lambda: None)
    return new_project("scale", tmp_path).root


def test_stdout_holds_the_text_and_nothing_else(project, capsys):
    assert run(["dockerfile", str(project)]) == 0

    printed = capsys.readouterr()
    assert printed.out == render_build(Image("scale", REQUIREMENTS)) == (project / "Dockerfile").read_text()
    assert printed.err == ""


def test_version_and_style(project, capsys):
    run(["dockerfile", str(project), "--style", "minimal", "--version", "24.12"])

    assert capsys.readouterr().out == render_minimal(Image("scale", REQUIREMENTS, "24.12"))


def test_images_of_ones_own(project, capsys):
    run(["dockerfile", str(project), "--style", "minimal", "--full", "localhost/f", "--base", "localhost/m"])

    printed = capsys.readouterr().out
    assert "FROM localhost/f AS full\n" in printed
    assert "FROM localhost/m AS python\n" in printed
    assert "nvcr.io" not in printed


def test_a_base_belongs_to_minimal(project):
    with pytest.raises(click.UsageError, match="--style minimal"):
        run(["dockerfile", str(project), "--base", "localhost/m"])


def test_into_a_file(project, capsys):
    run(["dockerfile", str(project), "--version", "24.12", "-o", str(project / "Dockerfile")])

    assert "tritonserver:24.12-py3" in (project / "Dockerfile").read_text()
    assert capsys.readouterr().out == ""


def test_a_dockerfile_of_ones_own_is_kept(project):
    (project / "Dockerfile").write_text("FROM scratch\n")

    with pytest.raises(HandledError, match="was not written by tbsdk dockerfile"):
        run(["dockerfile", str(project), "-o", str(project / "Dockerfile")])

    assert (project / "Dockerfile").read_text() == "FROM scratch\n"


def test_a_file_that_cannot_be_written(project):
    with pytest.raises(HandledError, match="cannot write"):
        run(["dockerfile", str(project), "-o", str(project / "gone" / "Dockerfile")])


def test_a_stanza_for_another_python_says_so(project, capsys, monkeypatch):
    monkeypatch.setattr(sysconfig, "get_python_version", lambda: "3.11")

    run(["dockerfile", str(project), "--style", "stanza"])

    printed = capsys.readouterr()
    assert printed.out == render_stanza(Image("scale", REQUIREMENTS))
    assert "the image has Python 3.12, and what Python 3.11 builds does not load there" in printed.err


def test_a_checkout_of_the_sdk_has_to_go_with_the_project(project, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(dockerfile, "sdk_checkout", lambda: tmp_path / "sdk")

    run(["dockerfile", str(project)])
    assert f"pip wheel --no-deps -w {project}/wheels {tmp_path}/sdk" in capsys.readouterr().err

    (project / "wheels").mkdir()
    (project / "wheels" / f"triton_backend_sdk-{__version__}-py3-none-any.whl").touch()
    run(["dockerfile", str(project)])
    assert capsys.readouterr().err == ""


def test_compat_needs_no_project(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    run(["dockerfile", "--compat", "--style", "stanza"])

    printed = capsys.readouterr()
    assert printed.out == render_stanza(Image("python_inprocess", compat=True))
    if sysconfig.get_python_version() != "3.12":
        assert "python3.12 -m triton_backend_sdk build --compat --name python_inprocess " in printed.err
