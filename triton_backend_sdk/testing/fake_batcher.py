"""Batches as Triton's dynamic batcher would form them of requests that all wait in its queue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from triton_backend_sdk.batching import Batcher, Rule
from triton_backend_sdk.plugins import batch_hooks

if TYPE_CHECKING:
    import pluggy

    from triton_backend_sdk.model import Model
    from triton_backend_sdk.testing.fake_request import FakeRequest


class FakeBatcher:
    """The model's rule and batch hooks, and what the core itself keeps apart.

    :raises TritonError: the rule or the hooks cannot be.
    """

    def __init__(self, model: Model, manager: pluggy.PluginManager) -> None:
        self._model = model
        self._errors: list[BaseException] = []
        self._batcher = Batcher(model, Rule.of(model), batch_hooks(manager), self._on_error)
        inputs = model.config.get("input", [])
        self._equal = [entry["name"] for entry in inputs if not entry.get("allow_ragged_batch")]
        self._has_optional = any(entry.get("optional") for entry in inputs)

    def _on_error(self, hook: str, error: BaseException) -> None:
        self._errors.append(error)

    def form(self, requests: Sequence[FakeRequest]) -> list[list[FakeRequest]]:
        """Divide requests; the first exception of a hook, which a server would log, is raised."""
        self._errors.clear()
        batches = self._batcher.divide(requests, self._core_allows)
        if self._errors:
            raise self._errors[0]
        return batches

    def _core_allows(self, batch: list[Any], request: Any) -> bool:
        size = sum(one.batch_size for one in batch) + request.batch_size
        if "dynamic_batching" not in self._model.config or size > self._model.max_batch_size:
            return False
        first = batch[0]
        if self._has_optional and set(first) != set(request):
            return False
        shared = [name for name in self._equal if name in first and name in request]
        return all(first[name].shape[1:] == request[name].shape[1:] for name in shared)
