"""Connections to an HTTP server that stay open between requests, each used by one thread at a time."""

from __future__ import annotations

import contextlib
import http.client
import select
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from triton_backend_sdk.runner.errors import ServerLostError

#: Smaller bodies are joined with their head: one packet is quicker than two.
_JOINED = 1 << 16


class Cancelled(Exception):  # noqa: N818  not an error: somebody asked for it
    """Another thread ended the request."""


class Exchange:
    """One request under way, which another thread may end.

    :param seconds: that it may take, all in all.
    """

    def __init__(self, seconds: float | None) -> None:
        self._lock = threading.Lock()
        self._connection: http.client.HTTPConnection | None = None
        self._ends = None if seconds is None else time.monotonic() + seconds
        #: Kept: a connection that the server will close forgets its own.
        self._socket: socket.socket | None = None
        self.cancelled = False

    @property
    def is_limited(self) -> bool:
        """Whether it may not take for ever."""
        return self._ends is not None

    def left(self) -> float | None:
        """Give the seconds that are left.

        :raises TimeoutError: none.
        """
        if self._ends is None:
            return None
        left = self._ends - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def hurry(self, connected: socket.socket | None = None) -> None:
        """Let what is sent or read next take no longer than what is left."""
        self._socket = connected or self._socket
        assert self._socket is not None
        self._socket.settimeout(self.left())

    def cancel(self) -> None:
        """Cut the connection: what waits for its answer fails at once."""
        with self._lock:
            self.cancelled = True
            if self._connection is not None:
                _cut(self._connection)

    def take(self, connection: http.client.HTTPConnection | None) -> None:
        """Note which connection the request uses now."""
        with self._lock:
            if connection is not None and self.cancelled:
                raise Cancelled
            self._connection = connection


class Connections:
    """Connections to one server.

    :param address: HOST:PORT.
    """

    def __init__(self, address: str, *, secure: bool = False) -> None:
        self.address = address
        self._context = ssl.create_default_context() if secure else None
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()
        self._closed = False

    @contextlib.contextmanager
    def request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: Sequence[Any],
        exchange: Exchange,
    ) -> Iterator[http.client.HTTPResponse]:
        """Send a request and give its response, whose body is not read yet.

        :raises ServerLostError: no connection, or it broke.
        :raises TimeoutError: no answer in time.
        """
        connection = self._connection()
        try:
            exchange.take(connection)
            if connection.sock is None:
                connection.timeout = exchange.left()
                connection.connect()
            exchange.hurry(connection.sock)
            length = sum(len(part) for part in body)
            given = {"Content-Length": str(length), **headers} if body else dict(headers)
            data = b"".join(body) if length <= _JOINED else iter(body)
            connection.request(method, "/" + path, data if body else None, given)
            exchange.hurry()
            response = connection.getresponse()
            exchange.hurry()
            yield response
            response.read()  # what is left, so that the connection can be used again
        except BaseException as error:
            _cut(connection)
            connection.close()
            if exchange.cancelled and isinstance(error, (OSError, http.client.HTTPException, ValueError)):
                raise Cancelled from error
            if isinstance(error, TimeoutError) and exchange.is_limited:  # else it is the system's
                raise TimeoutError(f"no answer from {self.address} in time") from None
            if isinstance(error, (OSError, http.client.HTTPException)):
                if _speaks_http2(error):
                    scheme = "grpc" if self._context is None else "grpcs"
                    said = f"{self.address} speaks gRPC, not HTTP: url='{scheme}://{self.address}'"
                    raise ServerLostError(said) from error
                raise ServerLostError(f"no answer from {self.address}: {_words(error)}") from error
            raise
        finally:
            exchange.take(None)
        self._give_back(connection)

    def close(self) -> None:
        """Close all that is idle; the others follow after their request."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        with self._lock:
            while self._idle:
                connection = self._idle.pop()
                if _is_open(connection):
                    return connection
                connection.close()
        if self._context is not None:
            return http.client.HTTPSConnection(self.address, context=self._context)
        return http.client.HTTPConnection(self.address)

    def _give_back(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            if not self._closed and connection.sock is not None:
                self._idle.append(connection)
                return
        connection.close()


def _is_open(connection: http.client.HTTPConnection) -> bool:
    """Say whether an idle connection is one still: a server that closed it made it readable."""
    poller = select.poll()
    poller.register(connection.sock, select.POLLIN)
    return not poller.poll(0)


def _cut(connection: http.client.HTTPConnection) -> None:
    with contextlib.suppress(OSError, AttributeError):
        connection.sock.shutdown(socket.SHUT_RDWR)


def _speaks_http2(error: Exception) -> bool:
    """Say whether what came instead of a status was a frame of settings, a server's first words in HTTP/2."""
    return isinstance(error, http.client.BadStatusLine) and error.args[0][3:9] == "\x04\0\0\0\0\0"


def _words(error: Exception) -> str:
    if isinstance(error, http.client.BadStatusLine) and not isinstance(error, http.client.RemoteDisconnected):
        return "what answers there speaks no HTTP"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
