"""What every client method takes besides its own arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict


class Tail(TypedDict, total=False):
    """See :class:`triton_backend_sdk.runner.client_methods.ClientMethods`."""

    headers: Mapping[str, str] | None
    #: Seconds.
    client_timeout: float | None
    #: HTTP only.
    query_params: Mapping[str, Any] | None
    #: False: the protocol's own message where it has one.
    as_json: bool | None
