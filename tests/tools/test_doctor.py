import os
import subprocess
import sys
from importlib import metadata
from types import SimpleNamespace

import pytest

from triton_backend_sdk.tools import doctor
from triton_backend_sdk.tools.dockerfile import RUNTIME_REQUIREMENTS
from triton_backend_sdk.tools.doctor import Finding, examine
from triton_backend_sdk.tools.errors import HandledError


def only(findings) -> Finding:
    [finding] = findings
    return finding


def finished(returncode: int, stdout: str = "", stderr: str = ""):
    return lambda *command: subprocess.CompletedProcess(command, returncode, stdout, stderr)


def test_this_machine_builds_backends():
    findings = {finding.name: finding for finding in examine()}

    assert {"Python", "libpython", "C compiler", "cffi", "numpy", "pluggy"} <= findings.keys()
    assert [finding for finding in findings.values() if finding.verdict == "fail"] == []


def test_every_lack_has_its_mend():
    assert [finding for finding in examine() if finding.verdict != "ok" and not finding.mend] == []


def test_a_look_that_breaks_is_a_finding(monkeypatch):
    def look():
        raise PermissionError(13, "Permission denied")
        yield

    monkeypatch.setattr(doctor, "CHECKS", (("folders", look),))

    assert only(examine()) == Finding(
        "folders", "warn", "could not be looked at: [Errno 13] Permission denied"
    )


@pytest.mark.parametrize(
    ("version", "verdict"), [((3, 9), "fail"), ((3, 10), "ok"), ((3, 13), "ok"), ((3, 14), "warn")]
)
def test_pythons(monkeypatch, version, verdict):
    monkeypatch.setattr(sys, "version_info", (*version, 0))

    assert only(doctor.check_python()).verdict == verdict


def test_a_python_without_its_shared_library(monkeypatch):
    def libpython():
        raise HandledError("no shared library", "apt-get install libpython3.11")

    monkeypatch.setattr(doctor, "find_libpython", libpython)

    assert only(doctor.check_libpython()) == Finding(
        "libpython", "fail", "no shared library", "apt-get install libpython3.11"
    )


def test_the_compiler_is_tried():
    finding = only(doctor.check_compiler())

    assert finding.verdict == "ok"
    assert "Python.h in" in finding.detail


def test_no_compiler(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")

    finding = only(doctor.check_compiler())

    assert finding.verdict == "fail"
    assert finding.detail.startswith("no C compiler: looked for")
    assert str(finding.mend).startswith("apt-get install gcc")


def test_a_compiler_without_a_c_library(monkeypatch):
    said = "In file included from x\nprobe.c:1: fatal error: stdio.h: No such file or directory\n"
    monkeypatch.setattr(doctor, "_run", finished(1, stderr=said))

    finding = only(doctor.check_compiler())

    assert finding.verdict == "fail"
    assert "stdio.h: No such file" in finding.detail
    assert finding.mend == "apt-get install gcc libc6-dev"


@pytest.mark.parametrize(
    ("versions", "verdicts"),
    [
        ({"numpy": "1.26.4"}, {"numpy": "ok"}),
        ({"numpy": "1.25.9"}, {"numpy": "fail"}),
        ({"cffi": "1.9"}, {"cffi": "fail"}),
        ({"cffi": None}, {"cffi": "fail"}),
        ({"ml_dtypes": None, "tritonclient": None}, {"ml_dtypes": "warn", "tritonclient": "warn"}),
        ({"numpy": "2.5.0rc1"}, {"numpy": "ok"}),
    ],
)
def test_packages(monkeypatch, versions, verdicts):
    def version(name):
        found = versions.get(name, "99.0")
        if found is None:
            raise metadata.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(metadata, "version", version)

    found = {finding.name: finding for finding in doctor.check_packages()}

    assert {name: found[name].verdict for name in verdicts} == verdicts
    assert all("pip install" in str(found[name].mend) for name in verdicts if verdicts[name] != "ok")


def test_the_required_packages_are_the_runtimes():
    assert [f"{name}>={oldest}" for name, oldest in sorted(doctor.REQUIRED.items())] == list(
        RUNTIME_REQUIREMENTS
    )


def test_no_server(monkeypatch):
    def find():
        raise HandledError("no tritonserver found; looked at PATH", "x")

    monkeypatch.setattr(doctor, "find_server", find)

    finding = only(doctor.check_server())

    assert (finding.verdict, finding.mend) == ("warn", "tbsdk server install")


@pytest.mark.parametrize(("library", "verdict"), [("/x/lib/libtritonserver.so", "ok"), (None, "warn")])
def test_a_server(monkeypatch, library, verdict):
    server = SimpleNamespace(binary="/x/bin/tritonserver", library=library, origin="PATH", version="2.51.0")
    monkeypatch.setattr(doctor, "find_server", lambda: server)

    finding = only(doctor.check_server())

    assert finding.verdict == verdict
    assert finding.detail.startswith("2.51.0 (PATH: /x/bin/tritonserver)")


@pytest.mark.parametrize(
    ("size", "free", "verdict", "says"),
    [
        (64 << 20, 64 << 20, "warn", "64 MiB, Docker's default"),
        (65 << 20, 65 << 20, "ok", "65 MiB"),
        (1 << 30, 63 << 20, "warn", "63 of 1024 MiB are free"),
    ],
)
def test_shared_memory(monkeypatch, tmp_path, size, free, verdict, says):
    monkeypatch.setattr(doctor, "SHM", tmp_path)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: SimpleNamespace(total=size, free=free))

    finding = only(doctor.check_shared_memory())

    assert finding.verdict == verdict
    assert finding.detail.startswith(says)
    assert bool(finding.mend) == (verdict == "warn")


def test_no_shared_memory(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "SHM", tmp_path / "gone")

    assert only(doctor.check_shared_memory()).verdict == "warn"


@pytest.mark.parametrize(
    ("answer", "verdict", "detail"),
    [
        (
            finished(0, "NVIDIA H200, 570.1\nNVIDIA H200, 570.1\n"),
            "ok",
            "NVIDIA H200, 570.1; NVIDIA H200, 570.1",
        ),
        (finished(9, "No devices were found\n"), "warn", "nvidia-smi failed: No devices were found"),
    ],
)
def test_gpus(monkeypatch, answer, verdict, detail):
    monkeypatch.setattr(doctor.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(doctor, "_run", answer)

    finding = only(doctor.check_gpu())

    assert (finding.verdict, finding.detail) == (verdict, detail)


def test_a_folder_nothing_can_be_run_from(monkeypatch):
    monkeypatch.setattr(doctor.os, "statvfs", lambda path: SimpleNamespace(f_flag=os.ST_NOEXEC))

    cache, temporary = doctor.check_folders()

    assert "noexec" in cache.detail
    assert cache.mend == "export TBSDK_CACHE_DIR=A_FOLDER_OF_YOURS"
    assert temporary.mend == "export TMPDIR=A_FOLDER_OF_YOURS"


def test_another_python_on_the_library_path(monkeypatch, tmp_path):
    (tmp_path / "libpython3.8.so.1.0").touch()
    monkeypatch.setenv("LD_LIBRARY_PATH", f":{tmp_path}:")

    finding = only(doctor.check_library_path())

    assert finding.verdict == "warn"
    assert str(tmp_path / "libpython3.8.so.1.0") in finding.detail


def test_our_own_python_on_the_library_path(monkeypatch, tmp_path):
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    (tmp_path / f"libpython{version}.so.1.0").touch()
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))

    assert only(doctor.check_library_path()) == Finding("LD_LIBRARY_PATH", "ok", str(tmp_path))
