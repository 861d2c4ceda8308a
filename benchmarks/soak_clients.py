"""Clients of the soak test that want errors, or go away."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading

import numpy as np
from tritonclient import grpc  # type: ignore[import-untyped]
from tritonclient.utils import InferenceServerException  # type: ignore[import-untyped]

from benchmarks.rows import SMALL

_LIMIT_S = 10.0


def fail(url: str, stop: threading.Event) -> None:
    """Send requests that the plugin answers with an error."""
    tensor = grpc.InferInput("IN", [SMALL.elements], SMALL.datatype)
    tensor.set_data_from_numpy(np.zeros(SMALL.elements, np.float32))
    with grpc.InferenceServerClient(url) as client:
        while not stop.wait(0.002):
            with contextlib.suppress(InferenceServerException):
                client.infer(SMALL.name, [tensor], parameters={"fail": True}, client_timeout=_LIMIT_S)


def go_away(url: str, stop: threading.Event) -> None:
    """Ask for long streams, and hang up as soon as the first response is there.

    Over HTTP: the gRPC front end of Triton 24.10 crashes now and then when a client cancels a stream.
    """
    body = json.dumps({"IN": 1_000_000})
    while not stop.wait(0.02):
        connection = http.client.HTTPConnection(url, timeout=_LIMIT_S)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("POST", "/v2/models/stream/generate_stream", body)
            connection.getresponse().readline()
