"""Model call_X passes its input on to model X, and the answer back; now and then nobody is there to call."""

import contextlib
import itertools
from collections import deque
from typing import Any

from triton_backend_sdk import ModelInstance, Request, Response, TritonError, hookimpl


class Plugin:
    """One object per model instance."""

    def __init__(self) -> None:
        self._kept: deque[Any] = deque(maxlen=8)
        self._count = itertools.count()

    @hookimpl
    def execute(self, instance: ModelInstance, request: Request) -> Response:
        """Call, and keep the answer for longer than the request."""
        model = instance.model
        if next(self._count) % 16 == 0:
            with contextlib.suppress(TritonError):
                model.server.infer("nowhere", {"IN": request["IN"]})
        answer = model.server.infer(model.name.removeprefix("call_"), {"IN": request["IN"]})
        self._kept.append(answer["OUT"])
        return Response({"OUT": answer["OUT"]})
