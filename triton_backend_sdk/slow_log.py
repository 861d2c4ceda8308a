"""A wrapper around execute that logs slow batches; off unless the model's config asks for it."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from triton_backend_sdk.hookspecs import hookimpl

if TYPE_CHECKING:
    from triton_backend_sdk.model_instance import ModelInstance
    from triton_backend_sdk.request import Request


class SlowLog:
    """Log a warning for each execute that takes longer than a threshold, whether it returns or raises.

    Turned on by ``parameters { key: "slow_execute_ms" value { string_value: "50" } }``.
    """

    def __init__(self, threshold_ms: float) -> None:
        self._threshold_ms = threshold_ms

    @hookimpl(wrapper=True)
    def execute(self, instance: ModelInstance, requests: list[Request]) -> Generator[None, Any, Any]:
        """Time what is within."""
        start = time.perf_counter()
        # Before, as execute may release them; and not the requests, which this would keep.
        count, ids = len(requests), [request.id for request in requests if request.id]
        try:
            return (yield)
        finally:
            took = (time.perf_counter() - start) * 1000
            if took >= self._threshold_ms:
                instance.logger.warning(
                    "%s: execute of %d request(s)%s took %.1f ms (slow_execute_ms is %g)",
                    instance.name,
                    count,
                    f" {ids}" if ids else "",
                    took,
                    self._threshold_ms,
                )
