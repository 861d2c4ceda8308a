"""Answer an int n with 0, 1, ... n - 1: from generators and from senders on another thread, in turn."""

import itertools
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from triton_backend_sdk import Request, Response, ResponseSender, hookimpl

LONG = 1000


class Plugin:
    """One object per model instance."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(2)
        self._count = itertools.count()

    @hookimpl
    def execute(self, requests: Sequence[Request]) -> list[Iterator[Response] | None]:
        """Stream to every second request when execute is long over."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Request) -> Iterator[Response] | None:
        count = int(request["IN"].numpy()[0])
        if next(self._count) % 2:
            return stream(count)
        self._threads.submit(send, request.response_sender(), count)
        return None

    @hookimpl
    def finalize(self) -> None:
        """End the threads."""
        self._threads.shutdown()


def stream(count: int) -> Iterator[Response]:
    """Give the answers one by one, those of long streams slowly.

    Triton's HTTP front end sees that a client has gone only behind the responses that wait to be written.
    """
    for index in range(count):
        if count > LONG:
            time.sleep(0.001)
        yield Response({"OUT": np.array([index], np.int32)})


def send(sender: ResponseSender, count: int) -> None:
    """Send the answers one by one, as long as somebody listens."""
    with sender:
        for response in stream(count):
            if sender.is_cancelled():
                break
            sender.send(response)
