import pytest

from triton_backend_sdk.cli import run
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.installation import find_server


def test_path_prints_the_binary_alone(capsys):
    assert run(["server", "path"]) == 0
    assert capsys.readouterr().out == f"{find_server().binary}\n"


def test_path_of_a_given_server(capsys):
    binary = find_server().binary
    run(["server", "path", "--server", str(binary.parents[1])])
    assert capsys.readouterr().out == f"{binary}\n"


def test_path_of_none_lists_the_places(cache):
    with pytest.raises(HandledError, match=f"fetched: {cache}/tritonserver-2.51.0/bin/tritonserver"):
        run(["server", "path"])


def test_version_is_asked_where_no_file_tells_it(tmp_path, capsys):
    real = find_server()
    link = tmp_path / "bin" / "tritonserver"
    link.parent.mkdir()
    link.write_text(f'#!/bin/sh\nexec {real.binary} "$@"\n')
    link.chmod(0o755)
    assert run(["server", "version", "--server", str(link)]) == 0
    assert capsys.readouterr().out == f"{real.version}\n"


def test_install_says_where_it_is(capsys):
    if find_server().origin != "fetched":
        pytest.skip("this machine's own tritonserver is used; nothing was fetched")
    assert run(["server", "install"]) == 0
    assert str(find_server().binary.parents[1]) in capsys.readouterr().err


def test_install_from_a_wrong_file(cache, tmp_path):
    (tmp_path / "x.whl").write_bytes(b"x")
    with pytest.raises(
        HandledError, match="has sha256 2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    ):
        run(["server", "install", "--from", str(tmp_path / "x.whl")])
