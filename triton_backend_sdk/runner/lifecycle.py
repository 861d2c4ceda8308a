"""Where a Runner's answers come from: a server that runs, one that it starts, or the core in this process."""

from __future__ import annotations

import contextlib
import copy
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from triton_backend_sdk.errors import InvalidArgError
from triton_backend_sdk.runner.errors import NotSupportedError, ServerLostError
from triton_backend_sdk.runner.http_connections import Connections, Exchange
from triton_backend_sdk.runner.transport import Transport
from triton_backend_sdk.runner.transport_grpc import GrpcTransport
from triton_backend_sdk.runner.transport_http import HttpTransport
from triton_backend_sdk.tools.endpoints import get_text

#: Seconds for a server to show that it speaks HTTP.
_PROBE_LIMIT_S = 1.0


class Backing(ABC):
    """One of the three ways."""

    @abstractmethod
    def transport(self) -> Transport:
        """Give what leads to the server; starts it, or waits for its restart, where that is needed."""

    @abstractmethod
    def close(self) -> None:
        """Let go of everything; harmless when done already."""

    @abstractmethod
    def metrics_text(self) -> str:
        """Give the metrics in Prometheus' format."""

    @abstractmethod
    def forked(self) -> Backing:
        """Give what a forked child takes instead: connections, threads and the server are the parent's."""

    def explain(self, transport: Transport, error: Exception) -> Exception:
        """Give what really happened when a call lost its server."""
        return error

    @property
    def ready(self) -> bool:
        """Whether ``transport`` returns at once."""
        return False

    @property
    def address(self) -> str:
        """Say where the server is."""
        return ""

    def log_lines(self) -> list[str]:
        """Give the last lines of the log of what was started."""
        return []


def connect(protocol: str, address: str, *, secure: bool = False) -> Transport:
    """Make a transport; nothing is sent yet."""
    if protocol == "http":
        return HttpTransport(address, secure=secure)
    return GrpcTransport(address, secure=secure)


class Attached(Backing):
    """A server that somebody else runs.

    :param wrap: makes the transport that is used of the one to the server.
    """

    def __init__(
        self,
        protocol: str,
        address: str,
        *,
        secure: bool,
        metrics_url: str | None,
        wrap: Callable[[Transport], Transport],
    ) -> None:
        self._address = address
        self._protocol = protocol
        self._secure = secure
        self._wrap = wrap
        self._metrics_url = metrics_url
        self._transport: Transport | None = None
        self._lock = threading.Lock()
        self._closed = False

    def transport(self) -> Transport:
        """Give what leads to the server."""
        found = self._transport
        if found is not None:
            return found
        with self._lock:
            if self._closed:
                raise InvalidArgError("this Runner is closed")
            if self._transport is None:
                self._transport = self._wrap(connect(self._protocol, self._address, secure=self._secure))
            return self._transport

    @property
    def ready(self) -> bool:
        """Whether ``transport`` returns at once."""
        return True

    def close(self) -> None:
        """Let go of the connections; the server stays."""
        with self._lock:
            transport, self._transport, self._closed = self._transport, None, True
        if transport is not None:
            transport.close()

    def explain(self, transport: Transport, error: Exception) -> Exception:
        """Say where gRPC got no connection because the port is HTTP's; its own words are 'Socket closed'."""
        if self._protocol != "grpc" or "failed to connect" not in str(error):
            return error
        for scheme in dict.fromkeys(("https" if self._secure else "http", "http")):
            connections = Connections(self._address, secure=scheme == "https")
            with contextlib.suppress(Exception):  # anything but an answer of HTTP
                with connections.request("GET", "v2/health/live", {}, [], Exchange(_PROBE_LIMIT_S)):
                    connections.close()
                return ServerLostError(
                    f"{self._address} speaks HTTP, not gRPC: url='{scheme}://{self._address}'"
                )
        return error

    def metrics_text(self) -> str:
        """Give the metrics in Prometheus' format."""
        if self._metrics_url is None:
            raise NotSupportedError(
                "this Runner does not know where the server's metrics are: give metrics_url="
            )
        return get_text(self._metrics_url)

    def forked(self) -> Backing:
        """Give one with connections of its own."""
        child = copy.copy(self)
        child._transport, child._lock = None, threading.Lock()
        return child

    @property
    def address(self) -> str:
        """Say where the server is."""
        return f"{self._protocol}{'s' if self._secure else ''}://{self._address}"


class Process(Backing):
    """Triton's core in this process.

    :param make: makes the core, with its models loaded.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._transport: Any = None
        self._lock = threading.Lock()
        self._closed = False

    def transport(self) -> Transport:
        """Give what leads to the core."""
        found: Transport | None = self._transport
        if found is not None:
            return found
        with self._lock:
            if self._closed:
                raise InvalidArgError("this Runner is closed")
            if self._transport is None:
                from triton_backend_sdk.runner.transport_core import CoreTransport  # noqa: PLC0415  needs cffi

                self._transport = CoreTransport(self._make())
            made: Transport = self._transport
        return made

    @property
    def ready(self) -> bool:
        """Whether ``transport`` returns at once."""
        return self._transport is not None

    def close(self) -> None:
        """Unload the models and end the core."""
        with self._lock:
            transport, self._transport, self._closed = self._transport, None, True
        if transport is not None:
            transport.close()
            transport.core.close()

    def metrics_text(self) -> str:
        """Give the metrics in Prometheus' format."""
        self.transport()
        text: str = self._transport.core.metrics_text()
        return text

    def forked(self) -> Backing:
        """Give one that refuses: a core lives on its threads, and a fork has only one."""
        child = copy.copy(self)
        child._transport, child._lock = None, threading.Lock()
        if self._transport is not None:
            child._make = _refuse
        return child

    def log_lines(self) -> list[str]:
        """Give what Triton has logged."""
        return self._transport.core.log_text().splitlines() if self._transport is not None else []


def _refuse() -> Any:
    raise NotSupportedError(
        "Triton's core does not live on in a forked process: make the Runner there, or start the process "
        "with multiprocessing's spawn"
    )
