from pathlib import Path

import pytest

from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.installation import find_server


def fake_server(root: Path) -> Path:
    """Make a tree of NVIDIA's layout and give its binary."""
    binary = root / "bin" / "tritonserver"
    for file in (binary, root / "lib" / "libtritonserver.so", root / "backends" / "python" / "x"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    binary.chmod(0o755)
    return binary


@pytest.fixture(autouse=True)
def places(cache):
    """No server in any place but those that a test makes."""


def test_a_given_path_goes_first(tmp_path, monkeypatch):
    given = fake_server(tmp_path / "given")
    monkeypatch.setenv("TBSDK_TRITONSERVER", str(fake_server(tmp_path / "variable")))
    assert find_server(given).binary == given


def test_a_given_folder_is_searched_for_its_bin(tmp_path):
    binary = fake_server(tmp_path / "x")
    assert find_server(tmp_path / "x").binary == binary


def test_the_order_of_places(tmp_path, monkeypatch, cache):
    in_cache = fake_server(cache / "tritonserver-2.51.0")
    assert find_server().binary == in_cache
    in_image = fake_server(tmp_path / "opt")
    assert find_server().binary == in_image
    on_path = fake_server(tmp_path / "path")
    monkeypatch.setenv("PATH", str(on_path.parent))
    assert find_server().binary == on_path
    in_variable = fake_server(tmp_path / "variable")
    monkeypatch.setenv("TBSDK_TRITONSERVER", str(in_variable))
    assert find_server().binary == in_variable


def test_every_place_is_listed_when_there_is_none(tmp_path, cache):
    with pytest.raises(HandledError) as caught:
        find_server()
    for place in (
        "PATH",
        str(tmp_path / "opt/bin/tritonserver"),
        str(cache / "tritonserver-2.51.0/bin/tritonserver"),
    ):
        assert place in caught.value.message
    assert str(caught.value.next_step).startswith("tbsdk server install")


def test_a_wrong_given_path_does_not_fall_back(tmp_path, cache):
    fake_server(cache / "tritonserver-2.51.0")
    with pytest.raises(HandledError, match=r"given path: .*none"):
        find_server(tmp_path / "none")


def test_a_wrong_variable_does_not_fall_back(tmp_path, cache, monkeypatch):
    fake_server(cache / "tritonserver-2.51.0")
    monkeypatch.setenv("TBSDK_TRITONSERVER", "/none")
    with pytest.raises(HandledError, match=r"\$TBSDK_TRITONSERVER: /none \(not there\)"):
        find_server()


def test_a_file_without_execute_bit_is_named_as_such(tmp_path):
    binary = fake_server(tmp_path / "x")
    binary.chmod(0o644)
    with pytest.raises(HandledError, match="not executable"):
        find_server(binary)


def test_the_library_is_found_behind_a_link_on_path(tmp_path, monkeypatch):
    binary = fake_server(tmp_path / "tree")
    link = tmp_path / "somewhere" / "tritonserver"
    link.parent.mkdir()
    link.symlink_to(binary)
    monkeypatch.setenv("PATH", str(link.parent))
    found = find_server()
    assert found.library == tmp_path / "tree" / "lib" / "libtritonserver.so"
    assert found.backends == tmp_path / "tree" / "backends"


def test_the_library_is_found_where_pip_installed_the_wheel(tmp_path):
    binary = fake_server(tmp_path / "pytriton" / "tritonserver")
    (binary.parents[1] / "lib" / "libtritonserver.so").unlink()
    library = tmp_path / "nvidia_pytriton.libs" / "libtritonserver-717102f0.so"
    library.parent.mkdir()
    library.touch()
    assert find_server(binary).library == library


def test_the_version_is_read_from_its_file(tmp_path):
    binary = fake_server(tmp_path / "x")
    assert find_server(binary).version is None
    (tmp_path / "x" / "TRITON_VERSION").write_text("2.60.0\n")
    assert find_server(binary).version == "2.60.0"
