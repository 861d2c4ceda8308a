"""Start the real tritonserver, wait until it answers, stop it without leaving anything behind."""

from __future__ import annotations

import itertools
import json
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from triton_backend_sdk.tools import server_log
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.installation import ServerInstallation, find_server
from triton_backend_sdk.tools.ports import LOOPBACK, choose_ports, listening_ports
from triton_backend_sdk.tools.process import BoundProcess, LineCallback

__all__ = ["ModelStatus", "ServerInstallation", "TritonServer", "find_server"]

_SERVICES = ("http", "grpc", "metrics")
_START_ATTEMPTS = 5
#: The server is on this machine: a proxy from the environment has no part in talking to it.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class ModelStatus:
    """A row of the repository index."""

    name: str
    version: str
    #: READY, LOADING, UNLOADING, UNAVAILABLE; empty for a model that was never asked for or cannot be read.
    state: str
    #: Why it is unavailable, in Triton's words.
    reason: str


class TritonServer:
    """A tritonserver process on loopback; as a context manager it is ready inside and gone after.

    Ports that are not given are free ones. The process dies with this one, even when that is killed.

    :param model_repository: one folder or several.
    :param backend_directory: where Triton looks for ``NAME/libtriton_NAME.so``; else the server's own.
    :param extra_args: further flags of tritonserver, as ``--flag=value``.
    :param env: added to this process's environment.
    :param on_line: called for each line of the server's output, on another thread.
    :raises HandledError: (from ``wait_ready``) the server does not start; says why in its words.
    """

    def __init__(
        self,
        model_repository: Path | Sequence[Path],
        *,
        backend_directory: Path | None = None,
        server: ServerInstallation | None = None,
        http_port: int | None = None,
        grpc_port: int | None = None,
        metrics_port: int | None = None,
        extra_args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        on_line: LineCallback | None = None,
    ) -> None:
        self.server = server or find_server()
        several = [model_repository] if isinstance(model_repository, Path) else model_repository
        self.model_repositories = list(several)
        self.backend_directory = backend_directory or self.server.backends
        self.extra_args = list(extra_args)
        self._flags = _flag_values(self.extra_args)
        _reject_ours(self._flags)
        self._given = {"http": http_port, "grpc": grpc_port, "metrics": metrics_port}
        self._ports: dict[str, int] = {}
        self._env = {**os.environ, **(env or {})}
        self._on_line = on_line
        self._process: BoundProcess | None = None
        self._attempts = 0

    @property
    def argv(self) -> list[str]:
        """The command line; its ports are known once the server was started."""
        flags = [f"--model-repository={path}" for path in self.model_repositories]
        if self.backend_directory is not None:
            flags.append(f"--backend-directory={self.backend_directory}")
        if self.server.caches is not None:
            flags.append(f"--cache-directory={self.server.caches}")
        for service in _SERVICES:
            flags.append(f"--{service}-address={LOOPBACK}")
            flags.append(f"--{service}-port={self._ports.get(service, 0)}")
        # Of a flag that is given twice tritonserver takes the last.
        return [str(self.server.binary), *flags, *self.extra_args]

    @property
    def http_url(self) -> str:
        """HOST:PORT of the HTTP endpoint, as tritonclient wants it."""
        return self._url("http")

    @property
    def grpc_url(self) -> str:
        """HOST:PORT of the gRPC endpoint."""
        return self._url("grpc")

    @property
    def metrics_url(self) -> str:
        """URL of the Prometheus metrics."""
        return f"http://{self._url('metrics')}/metrics"

    @property
    def pid(self) -> int:
        """The process id of tritonserver."""
        return self._running().pid

    @property
    def returncode(self) -> int | None:
        """The exit status; None while it runs, -N when signal N ended it."""
        return self._running().poll()

    def log_lines(self) -> list[str]:
        """Give the last lines of the server's output."""
        return self._process.lines() if self._process else []

    def log_text(self) -> str:
        """Give the last lines of the server's output as one text."""
        return "\n".join(self.log_lines())

    def start(self) -> None:
        """Start the process; ``wait_ready`` says whether it came up."""
        self._attempts += 1
        self._ports = choose_ports(self._given)
        self._process = BoundProcess(self.argv, env=self._env, on_line=self._on_line)

    def wait_ready(self, timeout: float | None = 60.0) -> list[ModelStatus]:
        """Wait until the server answers, and give the repository index.

        Models that failed are in it when ``--exit-on-error=false`` lets the server live with them.
        A free port that another process took meanwhile makes the server start anew with other ports.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._is_ready():
            if self._running().poll() is not None:
                self._start_again_or_raise()
            elif deadline is not None and time.monotonic() > deadline:
                raise HandledError(
                    f"tritonserver was not ready after {timeout:.0f} s",
                    "see its last lines above; a model that loads slowly needs a longer timeout",
                    details=self.log_lines()[-10:],
                )
            time.sleep(0.02)
        return self.models()

    def models(self) -> list[ModelStatus]:
        """Ask for the repository index."""
        rows = self.request("/v2/repository/index", method="POST")
        failures = server_log.model_failures(self.log_lines())
        return [_model_status(row, failures) for row in rows]

    def request(self, path: str, *, method: str = "GET", body: Any = None, timeout: float = 10.0) -> Any:
        """Send a request to the HTTP endpoint and give the JSON of its answer.

        :raises urllib.error.URLError: no answer, or (as HTTPError) a status other than 2xx.
        """
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://{self.http_url}{path}", data=data, method=method)
        with _OPENER.open(request, timeout=timeout) as response:
            text = response.read()
        return json.loads(text) if text else None

    def stop(self, timeout: float | None = None) -> int:
        """Stop the server and give its exit status: SIGTERM, then SIGKILL after ``timeout`` seconds.

        The default leaves the server the time its own --exit-timeout-secs grants to requests in flight.
        """
        if timeout is None:
            timeout = float(self._flags.get("exit-timeout-secs", "30")) + 5
        return self._running().stop(timeout)

    def kill(self) -> int:
        """End the server at once, requests in flight included."""
        return self._running().kill()

    def ended(self) -> HandledError:
        """Make the error that says how a server ended that nobody stopped."""
        status = _status_text(self._running().poll())
        return HandledError(f"tritonserver ended by itself ({status})", details=self.log_lines()[-10:])

    def __enter__(self) -> TritonServer:
        self.start()
        try:
            self.wait_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _url(self, service: str) -> str:
        address = self._flags.get(f"{service}-address", LOOPBACK)
        return f"{LOOPBACK if address == '0.0.0.0' else address}:{self._ports[service]}"  # noqa: S104

    def _running(self) -> BoundProcess:
        if self._process is None:
            raise HandledError("this tritonserver was not started", "call start() first, or use with")
        return self._process

    def _is_ready(self) -> bool:
        allowed = [name for name in _SERVICES if _is_true(self._flags.get(f"allow-{name}", "true"))]
        wanted = {self._ports[name] for name in allowed}
        # The log claims a service before its socket is bound, and another process may answer on a port that
        # this one failed to get: only the sockets that this process really has count.
        if not wanted <= listening_ports(self.pid):
            return False
        try:
            self.request("/v2/health/ready")
        except urllib.error.HTTPError:
            # Some model failed. By now all were tried: the endpoints open after that.
            return not _is_true(self._flags.get("exit-on-error", "true"))
        except OSError:
            return False
        return True

    def _start_again_or_raise(self) -> None:
        lines = self.log_lines()
        port = server_log.port_in_use(lines)
        if port is None:
            raise self._start_error(lines)
        if port in self._given.values():
            service = next(name for name, given in self._given.items() if given == port)
            raise HandledError(
                f"the {service} port {port} is in use on this machine", f"take another --{service}-port"
            )
        if self._attempts >= _START_ATTEMPTS:
            tried = f"{self._attempts} attempts, the last with {port}"
            raise HandledError(f"tritonserver found no free port in {tried}", "try again")
        self.start()

    def _start_error(self, lines: Sequence[str]) -> HandledError:
        reason = server_log.start_error(lines)
        failures = server_log.model_failures(lines)
        if reason is None:
            status = _status_text(self._running().poll())
            return HandledError(f"tritonserver ended before it was ready ({status})", details=lines[-10:])
        if failures:
            next_step = "mend the model; --exit-on-error=false lets the server live with the others"
        else:
            next_step = f"{self.server.binary} --help tells its flags"
        return HandledError(f"tritonserver did not start: {reason}", next_step, details=failures)


def _flag_values(args: Sequence[str]) -> dict[str, str]:
    """Read ``--flag=value`` and ``--flag value``; the last of several counts."""
    values = {}
    for argument, following in itertools.pairwise([*args, "--"]):
        if argument.startswith("--"):
            name, equals, value = argument[2:].partition("=")
            values[name] = value if equals or following.startswith("--") else following
    return values


def _reject_ours(flags: Mapping[str, str]) -> None:
    for service in _SERVICES:
        if f"{service}-port" in flags:
            raise HandledError(
                f"--{service}-port is chosen here and cannot be passed through to tritonserver",
                f"give --{service}-port as an option of tbsdk serve, before the --",
            )
    if not _is_true(flags.get("allow-http", "true")):
        raise HandledError(
            "--allow-http=false leaves no way to ask the server whether it is ready", "leave that flag out"
        )


def _is_true(value: str) -> bool:
    return value.lower() in {"true", "1", "on"}


def _model_status(row: Mapping[str, str], failures: Sequence[str]) -> ModelStatus:
    name, reason = row["name"], row.get("reason", "")
    if not row.get("state"):
        # A config.pbtxt that cannot be read leaves its reason in the log only.
        start = f"Poll failed for model directory '{name}': "
        reason = next((text.removeprefix(start) for text in failures if text.startswith(start)), reason)
    return ModelStatus(name, row.get("version", ""), row.get("state", ""), reason)


def _status_text(status: int | None) -> str:
    if status is not None and status < 0:
        return f"signal {signal.Signals(-status).name}"
    return f"exit status {status}"
