import os
import re
import subprocess
import sys

from triton_backend_sdk.cli.demo import _what_next


def demo(into):
    return subprocess.run(
        [sys.executable, "-m", "triton_backend_sdk", "demo", "--into", str(into)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_whole_job_is_done_and_nothing_stays_behind(tmp_path):
    for _ in range(2):  # the second replaces what the first has written
        result = demo(tmp_path)
        assert result.returncode == 0, result.stderr
        assert "libtriton_hello.so" in result.stdout
        for protocol in ("http", "grpc"):
            row = next(line for line in result.stdout.splitlines() if line.split()[:1] == [protocol])
            assert "[[1.0, 2.5, -3.0]]" in row
            assert "[[2.0, 5.0, -6.0]]" in row
            assert re.search(r"\d\.\d\d ms", row)
        assert "what to type next" in result.stdout
        pid = int(re.search(r"READY, pid (\d+)", result.stdout)[1])
        assert not os.path.exists(f"/proc/{pid}")
    assert (tmp_path / "hello" / "hello" / "plugin.py").is_file()


def test_a_folder_that_no_demo_wrote_is_left_alone(tmp_path):
    (tmp_path / "hello").mkdir()
    (tmp_path / "hello" / "mine.txt").write_text("precious")
    result = demo(tmp_path)
    assert result.returncode == 1
    assert "hello" in result.stderr
    assert (tmp_path / "hello" / "mine.txt").read_text() == "precious"


def test_where_the_commands_are_is_told_to_who_has_not_activated_the_venv(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    monkeypatch.chdir(tmp_path)
    _what_next(tmp_path / "hello")
    assert capsys.readouterr().out.splitlines()[1] == "  source .venv/bin/activate"

    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / ".venv"))
    _what_next(tmp_path / "hello")
    assert "activate" not in capsys.readouterr().out
