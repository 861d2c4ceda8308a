"""A tritonserver that a Runner starts, watches, and starts again when it dies.

One thread per server waits for its end in the kernel. A call that loses its server asks here what happened:
the exit status and the last lines of the log are known a moment after the connection breaks.
"""

from __future__ import annotations

import copy
import os
import select
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from triton_backend_sdk.errors import InvalidArgError, UnavailableError
from triton_backend_sdk.runner.errors import ServerEndedError, ServerLostError, start_error
from triton_backend_sdk.runner.lifecycle import Attached, Backing, connect
from triton_backend_sdk.runner.transport import Transport
from triton_backend_sdk.tools.endpoints import get_text
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.server import TritonServer
from triton_backend_sdk.tools.server_errors import status_text

#: Between a broken connection and the end of the process behind it.
_END_LIMIT_S = 3.0
#: Between two looks at a server whose end the kernel does not tell.
_LOOK_S = 0.1


@dataclass(frozen=True)
class Restart:
    """How often and how fast a server that died is started again.

    The pause doubles with each start until a server has lived for ``settled`` seconds.
    """

    #: Starts in a row; 0: never again.
    limit: int = 5
    #: Seconds before the first one.
    pause: float = 0.2
    #: The longest pause.
    longest: float = 30.0
    settled: float = 30.0

    def pauses(self, number: int) -> float:
        """Give the seconds before the start of that number, counted from 0."""
        return float(min(self.longest, self.pause * 2**number))


class Supervised(Backing):
    """See :class:`Backing`.

    :param make: makes a server, not started; called again for each restart.
    :param wrap: makes the transport that is used of the one to the server.
    """

    def __init__(
        self,
        make: Callable[[], TritonServer],
        protocol: str,
        *,
        start_timeout: float,
        restart: Restart,
        wrap: Callable[[Transport], Transport],
    ) -> None:
        self._make = make
        self._protocol = protocol
        self._start_timeout = start_timeout
        self._restart = restart
        self._wrap = wrap
        self._changed = threading.Condition()
        self._starting = threading.Lock()
        #: None: not started, being started again, or closed.
        self._transport: Transport | None = None
        #: The youngest, and what leads to it.
        self._server: TritonServer | None = None
        self._way: Transport | None = None
        #: Why there will be no other start.
        self._given_up: Exception | None = None
        self._closed = False
        #: Written to when the thread that waits shall look up.
        self._wake = os.pipe()
        self._watcher: threading.Thread | None = None
        #: Starts after a death.
        self.restarts = 0

    @property
    def server(self) -> TritonServer:
        """The server, which is started if it was not.

        :raises ServerEndedError: it died and was started too often.
        """
        self.transport()
        assert self._server is not None
        return self._server

    @property
    def ready(self) -> bool:
        """Whether ``transport`` returns at once."""
        return self._transport is not None

    @property
    def address(self) -> str:
        """Say where the server is."""
        server = self.server
        return f"{self._protocol}://{server.http_url if self._protocol == 'http' else server.grpc_url}"

    def transport(self) -> Transport:
        """Give what leads to the server; starts it, or waits for its restart, where that is needed."""
        found = self._transport
        if found is not None:
            return found
        with self._starting:
            if self._watcher is None and not self._closed:
                self._start_first()
        deadline = time.monotonic() + self._start_timeout
        with self._changed:
            while self._transport is None:
                if self._closed:
                    raise InvalidArgError("this Runner is closed")
                if self._given_up is not None:
                    raise copy.copy(self._given_up)
                if not self._changed.wait(max(0.0, deadline - time.monotonic())):
                    raise UnavailableError(f"the server is not back after {self._start_timeout:g} s")
            return self._transport

    def explain(self, transport: Transport, error: Exception) -> Exception:
        """Give what really happened when a call lost its server."""
        with self._changed:
            self._changed.wait_for(lambda: transport.ended or self._closed, _END_LIMIT_S)
        if transport.ended is not None:
            return copy.copy(transport.ended)  # each raise adds to an exception's traceback
        return ServerLostError("the Runner was closed during the call") if self._closed else error

    def metrics_text(self) -> str:
        """Give the metrics in Prometheus' format."""
        return get_text(self.server.metrics_url)

    def forked(self) -> Backing:
        """Give a way to the parent's server, which stays the parent's; or one of its own if there is none."""
        server = self._server
        if server is None or self._closed:
            child = Supervised(
                self._make,
                self._protocol,
                start_timeout=self._start_timeout,
                restart=self._restart,
                wrap=self._wrap,
            )
            child._closed = self._closed
            return child
        url = server.http_url if self._protocol == "http" else server.grpc_url
        metrics_url = server.metrics_url if server.options.allow_metrics else None
        return Attached(self._protocol, url, secure=False, metrics_url=metrics_url, wrap=self._wrap)

    def log_lines(self) -> list[str]:
        """Give the last lines of the server's output."""
        return self._server.log_lines() if self._server is not None else []

    def close(self) -> None:
        """Stop the server; it is given the time to end what is under way."""
        with self._starting, self._changed:
            if self._closed:
                return
            self._closed, self._transport = True, None
            self._changed.notify_all()
        os.write(self._wake[1], b"x")
        if self._watcher is not None and self._watcher is not threading.current_thread():
            self._watcher.join()
        for end in self._wake:
            os.close(end)

    def _start_first(self) -> None:
        try:
            self._start()
        except HandledError as error:
            raise start_error(error) from None
        # Kept alive by nothing but the server: it must not keep the Runner.
        self._watcher = threading.Thread(target=self._watch, name="tbsdk-runner", daemon=True)
        self._watcher.start()

    def _start(self) -> None:
        server = self._make()
        server.start()
        try:
            server.wait_ready(self._start_timeout)
            url = server.http_url if self._protocol == "http" else server.grpc_url
            transport = self._wrap(connect(self._protocol, url))
        except BaseException:
            server.kill()
            raise
        with self._changed:
            self._server, self._way = server, transport
            self._transport = None if self._closed else transport
            self._changed.notify_all()

    def _watch(self) -> None:
        number = 0
        while True:
            server, transport = self._server, self._way
            assert server is not None
            assert transport is not None
            began = time.monotonic()
            if not self._wait_for_end(server):
                transport.rest()
                server.stop()
                transport.close()
                return
            self._note_end(server, transport)
            number = 0 if time.monotonic() - began > self._restart.settled else number
            number = self._revive(number, transport)
            if number < 0:
                return

    def _wait_for_end(self, server: TritonServer) -> bool:
        """Wait for the server's end, or for close(), which gives False."""
        try:
            end = os.pidfd_open(server.pid)
        except ProcessLookupError:
            return True
        except OSError:  # too many open files, or a kernel without it
            while server.returncode is None:
                if _readable(_LOOK_S, self._wake[0]):
                    return False
            return True
        try:
            return self._wake[0] not in _readable(None, end, self._wake[0])
        finally:
            os.close(end)

    def _note_end(self, server: TritonServer, transport: Transport) -> None:
        status = server.kill()  # what is left of its process group too
        how = status_text(status)
        ended = ServerEndedError(f"tritonserver ended by itself ({how})", status, server.log_lines()[-50:])
        with self._changed:
            transport.ended, self._transport = ended, None
            self._changed.notify_all()
        transport.close()

    def _revive(self, number: int, dead: Transport) -> int:
        """Start the server again, and give the number of starts in a row; -1: no more."""
        reason: Exception = dead.ended or UnavailableError("the server ended")
        while number < self._restart.limit:
            if _readable(self._restart.pauses(number), self._wake[0]):
                return -1
            number += 1
            try:
                self._start()
            except Exception as error:  # anything that keeps it from coming back
                reason = start_error(error) if isinstance(error, HandledError) else error
                continue
            self.restarts += 1
            return number
        with self._changed:
            self._given_up = reason
            self._changed.notify_all()
        return -1


def _readable(seconds: float | None, *descriptors: int) -> list[int]:
    """Wait until one of the descriptors can be read, and give those that can."""
    poller = select.poll()  # select() knows no descriptor above 1023
    for descriptor in descriptors:
        poller.register(descriptor, select.POLLIN)
    return [descriptor for descriptor, _ in poller.poll(None if seconds is None else seconds * 1000)]
