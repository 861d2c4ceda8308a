"""Start the real tritonserver, wait until it answers, stop it without leaving anything behind."""

from __future__ import annotations

import http.client
import math
import os
import threading
import time
import urllib.error
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from triton_backend_sdk.tools import preload, remote, server_errors, server_log
from triton_backend_sdk.tools.endpoints import Endpoint, GrpcEndpoint, HttpEndpoint, check_askable
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.installation import ServerInstallation, find_server
from triton_backend_sdk.tools.ports import LOOPBACK, listening_ports
from triton_backend_sdk.tools.process import BoundProcess, LineCallback
from triton_backend_sdk.tools.repository_index import ModelStatus, statuses
from triton_backend_sdk.tools.server_errors import StartError, model_failures
from triton_backend_sdk.tools.server_options import checks, probe
from triton_backend_sdk.tools.server_options.options import ServerOptions, flags, is_uri
from triton_backend_sdk.tools.service_ports import SERVICES, ServicePorts

__all__ = ["ModelStatus", "ServerInstallation", "ServerOptions", "StartError", "TritonServer", "find_server"]

#: What Vertex AI sets, to the options that tritonserver takes from it; the mode turns other endpoints off.
_VERTEX = {"AIP_MODE": None, "AIP_STORAGE_URI": "model_repository", "AIP_HTTP_PORT": "vertex_ai_port"}
#: A server that stops waits for half of it; its own default is 2000.
_METRICS_MS = 400
#: Between a broken connection and the end of the process behind it.
_END_LIMIT_S = 3.0
_Repository = Path | str | Sequence[Path | str]
_T = TypeVar("_T")


class TritonServer:
    """A tritonserver process on loopback; as a context manager it is ready inside and gone after.

    Ports that are not given, or are 0, are free ones. The process dies with this one, even when that is
    killed::

        with TritonServer("models", log_verbose=1) as server:
            print(server.http_url, server.models())

    :param model_repository: one or several, in place of the options'.
    :param options: tritonserver's options.
    :param env: added to this process's environment.
    :param on_line: called for each line of the server's output, on another thread.
    :param prefer: ports to take where they are free, by service: http, grpc, metrics.
    :param fields: tritonserver's options one by one, over those of ``options``: ``log_verbose=1``.
    :raises TypeError: there is no such option.
    """

    def __init__(
        self,
        model_repository: _Repository = (),
        options: ServerOptions | None = None,
        *,
        server: ServerInstallation | None = None,
        env: Mapping[str, str] | None = None,
        on_line: LineCallback | None = None,
        prefer: Mapping[str, int] | None = None,
        **fields: Any,
    ) -> None:
        self.server = server or find_server()
        if model_repository:
            fields["model_repository"] = (
                model_repository if isinstance(model_repository, (str, Path)) else list(model_repository)
            )
        fields = {name: value for name, value in fields.items() if value is not None}
        given = (options or ServerOptions()).replaced(**fields)
        self._env = {**os.environ, **(env or {})}
        vertex = {option: self._env.pop(name, None) for name, option in _VERTEX.items()}
        if given.allow_vertex_ai:
            given = given.with_defaults(**{name: value for name, value in vertex.items() if name and value})
        #: As given, with what the launcher adds: addresses of loopback, the folders of the installation.
        self.options = given.with_defaults(**self._defaults()).absolute(Path.cwd())
        self._ports = ServicePorts(self.options, prefer or {})
        self._on_line = on_line
        self._process: BoundProcess | None = None
        self._endpoint: Endpoint | None = None
        #: Held while a process is started: several threads may wait for one that loses its ports.
        self._starting = threading.Lock()
        #: What of the log file is of servers before this one, in bytes.
        self._logged = 0
        self._stopped = self._wanted = False

    def _defaults(self) -> dict[str, Any]:
        given: dict[str, Any] = {f"{service}_address": LOOPBACK for service in SERVICES}
        # Written out: the defaults depend on the environment.
        given |= {f"allow_{service}": True for service in SERVICES} | {"metrics_interval_ms": _METRICS_MS}
        folders = {"backend_directory": self.server.backends, "cache_directory": self.server.caches}
        return given | {name: folder for name, folder in folders.items() if folder is not None}

    @property
    def argv(self) -> list[str]:
        """The command line; its ports are known once the server was started."""
        return [str(self.server.binary), *self._ports.options().to_argv()]

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

    @property
    def endpoint(self) -> Endpoint:
        """What answers questions about the server: HTTP, or gRPC where there is no HTTP."""
        self._running()
        if self._endpoint is None:
            if "http" in self._ports.services:
                self._endpoint = HttpEndpoint(self.http_url, self.options.http_restricted_api)
            else:
                self._endpoint = GrpcEndpoint(self.grpc_url, self.options.grpc_restricted_protocol)
        return self._endpoint

    def log_lines(self) -> list[str]:
        """Give the last lines of the server's output, and of its log file where it has one."""
        if self._process is None:
            return []
        file = self.options.log_file
        return self._process.lines() + (server_log.last_lines(Path(file), self._logged) if file else [])

    def log_text(self) -> str:
        """Give the last lines of the server's output as one text."""
        return "\n".join(self.log_lines())

    def start(self) -> None:
        """Start the process; ``wait_ready`` says whether it came up.

        :raises HandledError: it would not: an option is wrong (OptionsError) or this tritonserver lacks it
            (UnsupportedFlagError); nothing was started. Or it runs already.
        """
        with self._starting:
            self._wanted = True
            if self._process is not None:
                if self._process.poll() is None:
                    raise HandledError("this tritonserver runs already", "stop it first, or make another one")
                self._process.kill()  # what it may have left
            self.check()
            self._preloaded = preload.environment(self.options.preload or (), self._env, self.server)
            self._launch()

    def _launch(self) -> None:
        self._endpoint, self._stopped = None, False
        self._logged = server_log.size(self.options.log_file)
        self._process = BoundProcess(self.argv, env={**self._env, **self._preloaded}, on_line=self._on_line)

    def check(self) -> None:
        """Refuse what tritonserver would refuse, and what would leave it alone with nobody to ask.

        :raises HandledError: as ``start``, which does it too.
        """
        self._ports.choose()
        options = self._ports.options()
        checks.check(options)
        given = [flags()[name] for name in options.given() if name in flags()]
        probe.check_flags(self.server, given, self._env)
        for place in options.model_repository or ():
            if is_uri(place):
                remote.check_root(str(place), self.server, env=self._env)
        check_askable(options)

    def wait_ready(self, timeout: float | None = 60.0) -> list[ModelStatus]:
        """Wait until the server answers, and give the repository index.

        Models that failed are in it when ``exit_on_error=False`` lets the server live with them, also where
        it says that it is ready. A free port that another process took makes the server start anew.

        :raises StartError: the server does not start; says why in its words.
        """
        timeout = math.inf if timeout is None else timeout
        deadline = time.monotonic() + timeout
        while not self._is_ready():
            if self._running().poll() is not None:
                self._start_again_or_raise()
            elif time.monotonic() > deadline:
                raise server_errors.not_ready(timeout, self.log_lines())
            time.sleep(0.02)
        return self._models(failure.name for failure in model_failures(self.log_lines()))

    def models(self) -> list[ModelStatus]:
        """Ask for the repository index; models that were asked for and do not exist are in it, too.

        :raises HandledError: the server has ended; says how.
        """
        return self._models(())

    def _models(self, more: Iterable[str]) -> list[ModelStatus]:
        rows, failures = self._ask(self.endpoint.index), model_failures(self.log_lines())
        return statuses(rows, failures, [*(self.options.load_model or ()), *more])

    def request(self, path: str, *, method: str = "GET", body: Any = None, timeout: float = 10.0) -> Any:
        """Send a request to the HTTP endpoint and give the JSON of its answer.

        :raises urllib.error.URLError: no answer, or (as HTTPError) a status other than 2xx.
        :raises HandledError: the server has ended; says how.
        """
        endpoint = HttpEndpoint(self.http_url, self.options.http_restricted_api)
        return self._ask(lambda: endpoint.request(path, method=method, body=body, timeout=timeout))

    def _ask(self, question: Callable[[], _T]) -> _T:
        """Ask this server, not another one that has its port after its end."""
        process = self._running()
        if process.poll() is not None:
            raise self.ended()
        try:
            return question()
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, urllib.error.HTTPError) or process.wait(_END_LIMIT_S) is None:
                raise
            raise self.ended() from error

    def stop(self, timeout: float | None = None) -> int:
        """Stop the server and give its exit status: SIGTERM, then SIGKILL after ``timeout`` seconds.

        The default leaves the server the time its own --exit-timeout-secs grants to requests in flight. The
        status is 0 as well where it waited for nothing but reloads that had failed.
        """
        limit = self.options.exit_timeout_secs
        timeout = (30.0 if limit is None else limit) + 5 if timeout is None else timeout
        return self._dismissed().stop(timeout, lambda: server_log.waits_in_vain(self.log_lines()))

    def kill(self) -> int:
        """End the server at once, requests in flight included."""
        return self._dismissed().kill()

    def _dismissed(self) -> BoundProcess:
        with self._starting:  # a thread that waits for it may be about to start it again
            process = self._running()
            self._wanted = False
            self._stopped = self._stopped or process.poll() is None
            return process

    def ended(self) -> HandledError:
        """Make the error that says how a server ended."""
        how = "was stopped" if self._stopped else "ended by itself"
        return server_errors.ended(how, self._running().poll(), self.log_lines())

    def __enter__(self) -> TritonServer:
        self.start()
        try:
            self.wait_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *raised: object) -> None:
        self.stop()

    def _url(self, service: str) -> str:
        self._running()
        return self._ports.address(service)

    def _running(self) -> BoundProcess:
        if self._process is None:
            raise HandledError("this tritonserver was not started", "call start() first, or use with")
        return self._process

    def _is_ready(self) -> bool:
        # The log claims a service before its socket is bound, and another process may answer on a port that
        # this one failed to get: only the sockets that this process really has count.
        if not {*self._ports.chosen.values()} <= listening_ports(self.pid):
            return False
        ready = self.endpoint.ready()
        # False: some model failed. By now all were tried: the endpoints open after that.
        return bool(ready) or (ready is False and self.options.exit_on_error is False)

    def _start_again_or_raise(self) -> None:
        with self._starting:
            status, lines = self._running().poll(), self.log_lines()
            if status is None:
                return  # another thread has started it again
            if not self._wanted or (lost := self._ports.lost(lines)) is None:
                raise server_errors.start_error(lines, status)
            self._ports.choose_again(lost)
            self._launch()
