"""A model's batcher, made known to C, where Triton's scheduler asks for it (``_ffi/src/batcher.c``)."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

import pluggy

from triton_backend_sdk import tracing
from triton_backend_sdk._ffi.api import Api
from triton_backend_sdk.batching import Batcher, Execute, Rule
from triton_backend_sdk.model import Model
from triton_backend_sdk.plugins import batch_hooks

logger = logging.getLogger("triton")


class ModelBatcher:
    """From the end of a model's initialization to its finalization.

    :param on_error: logs the exception of a hook, by the hook's name.
    :raises TritonError: the rule or the hooks cannot be.
    """

    def __init__(
        self,
        api: Api,
        hot: Any,
        model: Model,
        manager: pluggy.PluginManager,
        on_error: Callable[[str, BaseException], None],
    ) -> None:
        self._hot = hot
        self._batcher: Batcher | None = None
        self._told = False
        rule, hooks = Rule.of(model), batch_hooks(manager)
        if rule is None and not hooks:
            return
        self._batcher = batcher = Batcher(model, rule, hooks, on_error)
        follow = (lambda hook: hook) if api.lib.tb_owns_interpreter() else tracing.following
        self._address = hot.batcher_new(
            api.address(model._handle),
            model,
            tuple(hook and follow(hook) for hook in (batcher.initialize, batcher.include, batcher.finalize)),
            on_error,
            model.max_batch_size > 0,
            (batcher.rule.elements, batcher.rule.nbytes, batcher.rule.padded),
            batcher.rule.inputs,
        )

    def guard(self, execute: Execute) -> Execute:
        """Wrap an instance's execute: it gets no more than the rule and the hooks, if any, would allow."""
        batcher = self._batcher
        if batcher is None:
            return execute
        reason = batcher.unused_because(self._hot.batcher_attached(self._address))
        if reason and not self._told:
            self._told = True
            name = batcher.model.name
            logger.warning("model '%s': its rule and hooks for batches are not used: %s", name, reason)
        if "sequence_batching" in batcher.model.config:
            return execute
        return batcher.guard(execute, functools.partial(self._hot.batcher_formed, self._address))

    def close(self) -> None:
        """Let go of it: the model's scheduler thread has ended."""
        if self._batcher is not None:
            self._batcher = None
            self._hot.batcher_delete(self._address)
