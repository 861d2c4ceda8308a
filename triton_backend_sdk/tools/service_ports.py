"""The ports of a server's endpoints: those that were given, preferred ones, free ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from triton_backend_sdk.tools import server_log
from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.ports import LOOPBACK, choose_ports, is_free
from triton_backend_sdk.tools.server_options.options import ServerOptions

SERVICES = ("http", "grpc", "metrics")
#: Off unless wanted; with them, their ports are chosen like the others'.
_CLOUD_SERVICES = ("sagemaker", "vertex_ai")
_ATTEMPTS = 5
_EVERYWHERE = "0.0.0.0"  # noqa: S104  tritonserver's own default


class ServicePorts:
    """The ports of one server, which change when another process takes a free one first.

    :param preferred: ports to take where they are free, by service.
    """

    def __init__(self, options: ServerOptions, preferred: Mapping[str, int]) -> None:
        self._options = options
        self._preferred = preferred
        #: The endpoints that are on.
        self.services = [name for name in (*SERVICES, *_CLOUD_SERVICES) if getattr(options, f"allow_{name}")]
        #: Port 0 is any, as elsewhere; tritonserver would not say which.
        self._given = {name: getattr(options, f"{name}_port") or None for name in self.services}
        #: By service; none before the first start.
        self.chosen: dict[str, int] = {}
        self._attempts = 0

    def options(self) -> ServerOptions:
        """Give the options with the ports."""
        return self._options.replaced(**{f"{name}_port": port for name, port in self.chosen.items()})

    def choose(self) -> None:
        """Choose them for a start.

        :raises HandledError: an endpoint's address is none of this machine's.
        """
        for name in self.services:
            if not is_free(0, self._host(name)):
                raise HandledError(
                    f"the {name} address {self._host(name)} is none of this machine's",
                    f"mend --{name}-address",
                )
        self._attempts = 1
        given = [port for port in self._given.values() if port]
        preferred = {
            name: port for name, port in self._preferred.items() if port not in given and is_free(port)
        }
        self.chosen = choose_ports({name: port or preferred.get(name) for name, port in self._given.items()})

    def choose_again(self, lost: int) -> None:
        """Choose others, as one was lost.

        :raises HandledError: it was a given one, or it is not the first.
        """
        for name, port in self._given.items():
            if port == lost:
                raise HandledError(
                    f"the {name} port {port} is in use on this machine",
                    f"take another --{name.replace('_', '-')}-port",
                )
        if self._attempts >= _ATTEMPTS:
            tried = f"{self._attempts} attempts, the last with {lost}"
            raise HandledError(f"tritonserver found no free port in {tried}", "try again")
        self._attempts += 1
        self.chosen = choose_ports(self._given)

    def lost(self, lines: Sequence[str]) -> int | None:
        """Give the port that another process had, if that is what ended the server.

        :param lines: the last of its output.
        """
        port = server_log.port_in_use(lines)
        if port is None and self._options.log_error is False:  # then it does not say so
            ports = self.chosen.items()
            return next((port for name, port in ports if not is_free(port, self._host(name))), None)
        return port

    def address(self, service: str) -> str:
        """Give HOST:PORT of an endpoint.

        :raises HandledError: it is off.
        """
        if service not in self.services:
            raise HandledError(f"this tritonserver was started without {service}: allow_{service} is false")
        host = {_EVERYWHERE: LOOPBACK, "::": "::1"}.get(host := self._host(service), host)
        return f"{f'[{host}]' if ':' in host else host}:{self.chosen[service]}"

    def _host(self, service: str) -> str:
        # `ipv6:::1` for HTTP, `[::1]` for gRPC; the cloud services have no address.
        address: str = getattr(self._options, f"{service}_address", None) or _EVERYWHERE
        return address.removeprefix("ipv6:").strip("[]")
