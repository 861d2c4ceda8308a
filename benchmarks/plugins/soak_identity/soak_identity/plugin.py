"""Answer in every way there is: arrays, Triton's own buffer, strings, errors, and views kept for later."""

import itertools
from collections import deque
from collections.abc import Sequence
from typing import Any

from triton_backend_sdk import DataType, InvalidArgError, Request, Response, hookimpl


class Plugin:
    """One object per model instance."""

    def __init__(self) -> None:
        self._kept: deque[Any] = deque(maxlen=8)
        self._count = itertools.count()

    @hookimpl
    def execute(self, requests: Sequence[Request]) -> list[Response]:
        """Copy IN to OUT, or fail where the request asks for it."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Request) -> Response:
        if request.parameters.get("fail"):
            return Response(error=InvalidArgError("failing, as asked"))
        tensor = request["IN"]
        array = tensor.numpy()
        if tensor.dtype is DataType.BYTES:
            return Response({"OUT": array})
        self._kept.append(array)  # its request is released late
        if next(self._count) % 2:
            request.output("OUT", tensor.shape).numpy()[...] = array
            return Response()
        return Response({"OUT": array})
