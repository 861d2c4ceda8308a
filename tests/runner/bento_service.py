"""A `bentoml serve` that cannot outlive the tests, whatever ends them."""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from triton_backend_sdk.tools.ports import LOOPBACK, choose_ports
from triton_backend_sdk.tools.process import BoundProcess

ROOT = Path(__file__).parent.parent.parent
#: Every Python of a service runs this first. BoundProcess binds `bentoml serve` to us, and a Runner its tritonserver
#: to a worker; what BentoML itself leaves alone when it is killed are its workers.
BIND = """
import ctypes, os, signal
ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
if int(os.environ.get("TESTS_PARENT", os.getppid())) not in (os.getppid(), os.getpid()):  # the latter after exec
    os._exit(126)  # it has gone already
os.environ["TESTS_PARENT"] = str(os.getpid())
"""


def environment(home: Path, **more: str) -> dict[str, str]:
    """Give BentoML a home of its own; it tells nobody."""
    (home / "bind").mkdir(parents=True, exist_ok=True)
    (home / "bind" / "sitecustomize.py").write_text(BIND)
    clean = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    ours = {
        "BENTOML_DO_NOT_TRACK": "True",
        "BENTOML_HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{home / 'bind'}{os.pathsep}{ROOT}",
    }
    return {**clean, **ours, **more}


class Service:
    """A service on loopback, ready to be asked."""

    def __init__(
        self, what: str | Path, home: Path, *, module: Sequence[str] = ("bentoml",), **environ: str
    ) -> None:
        [self.port] = choose_ports({"it": None}).values()
        self.url = f"http://{LOOPBACK}:{self.port}"
        command = [sys.executable, "-m", *module, "serve", str(what), "--host", LOOPBACK]
        self.home = home
        env = environment(home, **environ)
        self.process = BoundProcess([*command, "--port", str(self.port)], env=env)

    def ask(self, path: str, document: object = None) -> tuple[int, str]:
        """Give the status and the text of an answer."""
        data = document if isinstance(document, bytes | None) else json.dumps(document).encode()
        request = urllib.request.Request(f"{self.url}/{path}", data, {"Content-Type": "application/json"})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def get(self, path: str, document: object = None) -> object:
        """Give an answer's JSON; it must be one of success."""
        status, text = self.ask(path, {} if document is None else document)
        assert status == 200, f"{status} {text}\n{self.text()}"
        return json.loads(text)

    def pids(self) -> list[int]:
        """Give its processes: the supervisor, workers, tritonservers."""
        found, parents = [self.process.pid], {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                parents[int(folder.name)] = int(
                    folder.joinpath("stat").read_text().rpartition(")")[2].split()[1]
                )
            except OSError:
                continue
        for pid in found:
            found += [child for child, parent in parents.items() if parent == pid]
        return found

    def text(self) -> str:
        return "\n".join(self.process.lines())

    def __enter__(self) -> Service:
        deadline = time.monotonic() + 90
        try:
            while True:
                assert self.process.poll() is None, self.text()
                assert time.monotonic() < deadline, self.text()
                try:
                    if self.ask("readyz")[0] == 200:
                        return self
                except OSError:
                    pass
                time.sleep(0.05)
        except BaseException:
            self.process.kill()
            raise

    def __exit__(self, *exception: object) -> None:
        self.process.stop(30)
