"""What all that speaks through tritonclient and gRPC has in common."""

from __future__ import annotations

import importlib
from typing import Any

from triton_backend_sdk.tools.errors import HandledError

#: gRPC's own words about a server that is not there, or not any more. The status is UNAVAILABLE, which a
#: model has too that is not ready.
_GONE = (
    "connect", "socket", "resol", "goaway", "recvmsg", "sendmsg", "broken pipe", "transport", "endpoint",
    "stream removed",
)  # fmt: skip


def load(name: str) -> Any:
    """Import a module of tritonclient or gRPC; late, because it costs a third of a second.

    :raises HandledError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except (ImportError, RuntimeError) as error:  # tritonclient itself turns a missing part into RuntimeError
        raise HandledError(
            f"{name} cannot be imported ({error})", "pip install 'triton-backend-sdk[client]'"
        ) from error


def channel_options(address: str) -> list[tuple[str, int]]:
    """Give the options of a gRPC channel: tensors have no limit, and this machine's own ports no proxy."""
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    if address.startswith(("127.", "localhost", "[::1]")):
        # gRPC would ask the proxy of the environment.
        options.append(("grpc.enable_http_proxy", 0))
    return options


def is_gone(message: str) -> bool:
    """Say whether gRPC itself found no server: ``message`` is that of the status UNAVAILABLE."""
    return any(words in message.lower() for words in _GONE)
