import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from triton_backend_sdk.tools import install
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.install import install_server, installed_server
from triton_backend_sdk.tools.installation import find_server

METADATA = "Metadata-Version: 2.1\nName: nvidia-pytriton\nVersion: 0.7.0\n"
FILES = {
    "pytriton/__init__.py": "",
    "pytriton/tritonserver/bin/tritonserver": "#!/bin/sh\necho hello\n",
    "pytriton/tritonserver/backends/python/libtriton_python.so": "",
    "pytriton/tritonserver/caches/local/libtritoncache_local.so": "",
    "pytriton/tritonserver/python_backend_stubs/3.11/triton_python_backend_stub": "",
    "nvidia_pytriton.libs/libtritonserver-717102f0.so": "core",
    "nvidia_pytriton-0.7.0.dist-info/METADATA": METADATA,
    "nvidia_pytriton-0.7.0.dist-info/WHEEL": "Wheel-Version: 1.0\nTag: py3-none-manylinux_2_35_x86_64\n",
    "nvidia_pytriton-0.7.0.dist-info/RECORD": "",
}


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """Give a small wheel with the layout of the real one, as the one that the SDK expects."""
    file = tmp_path / "wheels" / install.WHEEL_NAME
    file.parent.mkdir()
    with zipfile.ZipFile(file, "w") as archive:
        for name, text in FILES.items():
            archive.writestr(name, text)
    monkeypatch.setattr(install, "WHEEL_SHA256", hashlib.sha256(file.read_bytes()).hexdigest())
    return file


def test_the_tree_looks_like_nvidias_image(cache, wheel):
    root = install_server(wheel=wheel)
    assert root == cache / "tritonserver-2.51.0" == installed_server()
    assert os.access(root / "bin" / "tritonserver", os.X_OK)
    assert (root / "lib" / "libtritonserver.so").read_text() == "core"
    assert (root / "backends" / "python" / "libtriton_python.so").is_file()
    assert (root / "caches" / "local" / "libtritoncache_local.so").is_file()
    # Through the link as through the file's own folder: the RPATHs count folders upwards.
    assert (root / "backends/python/../../../../nvidia_pytriton.libs").is_dir()
    assert not (root / "pytriton" / "__init__.py").exists()


def test_stubs_of_the_stock_backend_are_kept_and_executable(cache, wheel):
    stubs = install_server(wheel=wheel) / "pytriton" / "tritonserver" / "python_backend_stubs"
    assert os.access(stubs / "3.11" / "triton_python_backend_stub", os.X_OK)


def test_nothing_else_stays_in_the_cache(cache, wheel):
    install_server(wheel=wheel)
    assert [path.name for path in cache.iterdir()] == ["tritonserver-2.51.0"]


def test_it_is_found_afterwards(cache, wheel):
    root = install_server(wheel=wheel)
    found = find_server()
    assert (found.binary, found.version, found.origin) == (root / "bin" / "tritonserver", "2.51.0", "fetched")
    assert found.library == root / "lib" / "libtritonserver.so"
    assert (found.backends, found.caches) == (root / "backends", root / "caches")


def test_a_second_call_does_nothing(cache, wheel):
    root = install_server(wheel=wheel)
    wheel.unlink()
    assert install_server(wheel=wheel) == root


def test_half_a_server_is_replaced(cache, wheel):
    root = install_server(wheel=wheel)
    (root / "pytriton" / "tritonserver" / "bin" / "tritonserver").unlink()
    assert installed_server() is None
    install_server(wheel=wheel)
    assert installed_server() == root


def test_another_hash_is_refused_and_both_are_named(cache, wheel):
    expected = install.WHEEL_SHA256
    wheel.write_bytes(wheel.read_bytes() + b"x")
    with pytest.raises(HandledError) as caught:
        install_server(wheel=wheel)
    assert expected in caught.value.message
    assert hashlib.sha256(wheel.read_bytes()).hexdigest() in caught.value.message
    assert installed_server() is None
    assert list(cache.iterdir()) == []


def test_a_missing_file_is_named(cache, tmp_path):
    with pytest.raises(HandledError, match=f"no wheel at {tmp_path}/none.whl"):
        install_server(wheel=tmp_path / "none.whl")


def test_pip_fetches_it(cache, wheel, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    stages = []
    install_server(lambda stage, done, total: stages.append((stage, done <= total)))
    assert installed_server() is not None
    assert list(dict.fromkeys(stages)) == [("download", True), ("check", True), ("unpack", True)]


def test_pip_may_remove_its_folders_during_a_look(tmp_path, monkeypatch):
    def rglob(self, pattern):
        raise FileNotFoundError(2, "No such file or directory", f"{self}/pip-unpack-x")
        yield

    monkeypatch.setattr(Path, "rglob", rglob)
    assert install._fetched(tmp_path) == 0


def test_a_pip_that_fails_is_quoted(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(HandledError, match=r"pip could not fetch nvidia-pytriton==0\.7\.0") as caught:
        install_server()
    assert "No matching distribution" in "".join(caught.value.details)
    assert "tbsdk server install --from" in str(caught.value.next_step)


def test_without_pip_it_says_what_to_type(cache, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(HandledError, match="needs the pip module") as caught:
        install_server()
    assert "ensurepip" in str(caught.value.next_step)
    assert "uv pip install pip" in str(caught.value.next_step)


def test_another_machine_is_told_so(cache, monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    with pytest.raises(HandledError, match="for Linux x86_64, and this machine is Linux aarch64"):
        install_server()


def test_processes_that_install_at_once_all_succeed(cache, wheel):
    program = (
        "import sys; from pathlib import Path; from triton_backend_sdk.tools import install\n"
        "install.WHEEL_SHA256 = sys.argv[2]\n"
        "sys.stdin.read(1)\n"  # all start together
        "print(install.install_server(wheel=Path(sys.argv[1])))\n"
    )
    command = [sys.executable, "-c", program, str(wheel), install.WHEEL_SHA256]
    root = Path(__file__).parents[2]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root, text=True)
        for _ in range(4)
    ]
    for process in processes:
        process.stdin.write("x")
        process.stdin.flush()
    answers = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert answers == [str(cache / "tritonserver-2.51.0")] * 4
    assert [path.name for path in cache.iterdir()] == ["tritonserver-2.51.0"]
