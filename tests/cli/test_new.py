import subprocess
import sys

import pytest

from triton_backend_sdk.cli import run
from triton_backend_sdk.tools.errors import HandledError


def test_the_tree_and_what_to_type_next(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    assert run(["new", "scale"]) == 0

    printed = capsys.readouterr().out
    assert "├── scale/\n│   ├── __init__.py\n│   └── plugin.py\n" in printed
    assert "│       ├── 1/\n│       │   └── .gitkeep\n" in printed
    assert "  cd scale\n  tbsdk serve" in printed
    assert (tmp_path / "scale" / "scale" / "plugin.py").is_file()


def test_into_another_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    run(["new", "scale", "--into", "my backends"])

    assert "  cd 'my backends/scale'\n" in capsys.readouterr().out


def test_what_exists_is_kept(tmp_path):
    run(["new", "scale", "--into", str(tmp_path)])
    (tmp_path / "scale" / "scale" / "plugin.py").write_text("mine")

    with pytest.raises(HandledError, match="exists already"):
        run(["new", "scale", "--into", str(tmp_path)])

    assert (tmp_path / "scale" / "scale" / "plugin.py").read_text() == "mine"


def test_a_bad_name_writes_nothing(tmp_path):
    with pytest.raises(HandledError, match="standard library"):
        run(["new", "json", "--into", str(tmp_path)])

    assert list(tmp_path.iterdir()) == []


def test_the_new_project_passes_its_own_tests(tmp_path):
    run(["new", "scale", "--into", str(tmp_path)])

    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider"],
        cwd=tmp_path / "scale",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert result.returncode == 0, result.stdout + result.stderr
    if "skipped" in result.stdout:
        pytest.skip(result.stdout)
    assert "3 passed" in result.stdout
