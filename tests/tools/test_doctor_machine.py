import ctypes
import re
import resource
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from triton_backend_sdk.tools import doctor_machine as machine
from triton_backend_sdk.tools.doctor_finding import Finding
from triton_backend_sdk.tools.installation import ServerInstallation


@pytest.fixture
def devices(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "DEVICES", tmp_path)
    return tmp_path


@pytest.fixture
def server(monkeypatch, tmp_path):
    library = tmp_path / "lib" / "libtritonserver.so"
    library.parent.mkdir()
    library.touch()
    (tmp_path / "backends" / "python").mkdir(parents=True)
    found = ServerInstallation(
        tmp_path / "tritonserver", library, tmp_path / "backends", None, "PATH", "2.51.0"
    )
    monkeypatch.setattr(machine, "_server", lambda: found)
    return found


def only(findings) -> Finding:
    [finding] = findings
    return finding


class Driver:
    """libcuda.so.1, as far as the version goes."""

    def __init__(self, version, status=0):
        self.version, self.status = version, status

    def cuDriverGetVersion(self, pointer):  # noqa: N802  CUDA's name
        ctypes.cast(pointer, ctypes.POINTER(ctypes.c_int))[0] = self.version
        return self.status


def no_library(name):
    raise OSError(name)


@pytest.mark.parametrize(
    ("library", "version"),
    [
        (lambda name: Driver(12040), (12, 4)),
        (lambda name: Driver(13000), (13, 0)),
        (lambda name: Driver(0), None),
        (lambda name: Driver(12040, 34), None),
        (no_library, None),
        (lambda name: SimpleNamespace(), None),
    ],
)
def test_the_drivers_cuda(monkeypatch, library, version):
    monkeypatch.setattr(machine.ctypes, "CDLL", library)

    assert machine.cuda_of_driver() == version


@pytest.mark.parametrize(
    ("file", "version"),
    [("libcudart-09529672.so.12.6.77", (12, 6)), ("libcudart.so.13.0.88", (13, 0)), ("libcuda.so.1", None)],
)
def test_the_servers_cuda(server, file, version):
    (server.library.parent / file).touch()

    assert machine.cuda_of_server() == version


@pytest.mark.parametrize(
    ("driver", "wanted", "has_gpu", "verdict"),
    [
        (None, (12, 6), False, "ok"),
        (None, (12, 6), True, "warn"),
        ((11, 4), (12, 6), True, "warn"),
        ((12, 0), (12, 6), True, "ok"),
        ((12, 8), None, True, "ok"),
    ],
)
def test_the_driver(monkeypatch, devices, driver, wanted, has_gpu, verdict):
    monkeypatch.setattr(machine, "cuda_of_driver", lambda: driver)
    monkeypatch.setattr(machine, "cuda_of_server", lambda: wanted)
    if has_gpu:
        (devices / "nvidia0").touch()

    finding = only(machine.check_driver())

    assert finding.verdict == verdict
    assert bool(finding.mend) == (verdict == "warn")


@pytest.mark.parametrize(
    ("soft", "has_gpu", "verdicts"),
    [
        ((1024, 8 << 20, 8 << 20), False, ["warn", "ok", "ok"]),
        ((1024, 8 << 20, 8 << 20), True, ["warn", "warn", "ok"]),
        ((65536, -1, 1 << 20), True, ["ok", "ok", "warn"]),
        ((-1, -1, -1), True, ["ok", "ok", "ok"]),
    ],
)
def test_limits(monkeypatch, devices, soft, has_gpu, verdicts):
    kinds = (resource.RLIMIT_NOFILE, resource.RLIMIT_MEMLOCK, resource.RLIMIT_STACK)
    limits = dict(zip(kinds, soft, strict=True))
    monkeypatch.setattr(machine.resource, "getrlimit", lambda kind: (limits[kind], -1))
    if has_gpu:
        (devices / "nvidia0").touch()

    findings = list(machine.check_limits())

    assert [finding.verdict for finding in findings] == verdicts
    assert all("docker run --ulimit" in finding.mend for finding in findings if finding.verdict == "warn")


@pytest.mark.parametrize(
    ("files", "verdict", "detail"),
    [
        ({}, "ok", "not inside one"),
        ({"memory.max": "max", "pids.max": "max"}, "ok", "not inside one"),
        ({"memory.max": str(4 << 30)}, "ok", "not inside one, limited to 4.0 GiB of memory"),
        (
            {"memory.max": str(512 << 20)},
            "warn",
            "0.5 GiB of memory: the system ends a server that needs more",
        ),
        ({"memory/memory.limit_in_bytes": str(512 << 20)}, "warn", "0.5 GiB of memory"),
        ({"memory/memory.limit_in_bytes": "9223372036854771712"}, "ok", "not inside one"),
        ({"pids.max": "100"}, "warn", "limited to 100 processes and threads"),
    ],
)
def test_what_the_container_may_use(monkeypatch, tmp_path, files, verdict, detail):
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    monkeypatch.setattr(machine, "MARKS", {})
    monkeypatch.setattr(machine, "_ENGINES", ())
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")

    inside, _ = machine.check_container()

    assert inside.verdict == verdict
    assert detail in inside.detail
    assert bool(inside.mend) == (verdict == "warn")


def test_inside_a_container(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    (tmp_path / ".dockerenv").touch()
    monkeypatch.setattr(machine, "MARKS", {"docker": tmp_path / ".dockerenv"})

    assert next(machine.check_container()).detail == "inside one (docker)"


@pytest.mark.parametrize(
    ("answer", "verdict", "detail"),
    [
        (subprocess.CompletedProcess((), 0, "28.1 28.2\n", ""), "ok", "docker 28.2"),
        (
            subprocess.CompletedProcess((), 1, "", "Cannot connect\nmore"),
            "warn",
            "docker does not work: Cannot connect",
        ),
        (None, "warn", "docker does not work: no answer"),
    ],
)
def test_engines(monkeypatch, answer, verdict, detail):
    monkeypatch.setattr(machine, "_ENGINES", ("docker",))
    monkeypatch.setattr(machine.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(machine, "_run", lambda *command: answer)

    finding = list(machine.check_container())[-1]

    assert (finding.verdict, finding.detail) == (verdict, detail)


@pytest.mark.parametrize("marks", [[], ["docker"]], ids=["outside", "inside"])
def test_an_engine_that_does_not_work_is_started_where_it_runs(monkeypatch, tmp_path, marks):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setattr(machine, "MARKS", dict.fromkeys(marks, tmp_path))
    monkeypatch.setattr(machine, "_ENGINES", ("podman",))
    monkeypatch.setattr(machine.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(machine, "_run", lambda *command: None)

    mend = list(machine.check_container())[-1].mend

    assert ("systemctl start podman" in mend) == (not marks)
    assert ("use podman on the host" in mend) == bool(marks)


def test_an_engine_that_never_answers(monkeypatch):
    monkeypatch.setattr(machine, "_ENGINE_SECONDS", 0.1)

    assert machine._run("sleep", "5") is None


def test_no_stub(server):
    assert only(machine.check_stub()).verdict == "ok"
    assert "tbsdk serve --compat" in only(machine.check_stub()).detail


def test_a_server_without_a_python_backend(monkeypatch, server):
    monkeypatch.setattr(machine, "_server", lambda: replace(server, backends=None))

    assert list(machine.check_stub()) == []


@pytest.mark.parametrize(
    ("mode", "lacks", "verdict", "mend"),
    [
        (0o644, [], "warn", "chmod +x"),
        (0o755, [], "ok", None),
        (0o755, ["libpython3.8.so.1.0"], "warn", "apt-get install libpython3.8"),
        (0o755, ["libb64.so.0d"], "warn", "set LD_LIBRARY_PATH"),
        (0o755, ["GLIBCXX_3.4.32"], "warn", "take the stub of a server that was built for this system"),
    ],
)
def test_the_stub(monkeypatch, server, mode, lacks, verdict, mend):
    stub = server.backends / "python" / machine.STUB
    stub.touch(mode)
    monkeypatch.setattr(machine, "unresolved", lambda path: lacks)

    finding = only(machine.check_stub())

    assert finding.verdict == verdict
    assert (mend or "") in (finding.mend or "")


def test_a_real_stub_without_its_libpython(server):
    """The fetched server has stubs of several Pythons, most of which this machine lacks."""
    from triton_backend_sdk.tools.installation import find_server

    stubs = find_server().binary.resolve().parent.parent
    found = sorted(stubs.glob(f"**/3.8/{machine.STUB}"))
    if not found:
        pytest.skip("the installed server has no stub for Python 3.8")
    stub = server.backends / "python" / machine.STUB
    stub.write_bytes(found[0].read_bytes())
    stub.chmod(0o755)

    finding = only(machine.check_stub())

    assert finding.verdict == "warn"
    assert "a server would wait for it for ever" in finding.detail


def test_a_real_program_that_wants_a_newer_library(server):
    """Here a library is there, but not the version of it that the program was linked to."""
    stub = server.backends / "python" / machine.STUB
    program = Path(shutil.which("true")).read_bytes()
    wanted = max(set(re.findall(rb"GLIBC_2\.\d\d", program)))
    stub.write_bytes(program.replace(wanted, b"GLIBC_2.99"))
    stub.chmod(0o755)

    finding = only(machine.check_stub())

    assert finding.verdict == "warn"
    assert "lacks GLIBC_2.99" in finding.detail
