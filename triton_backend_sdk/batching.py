"""Which requests may be executed together: a rule in the model's config, or hooks of the plugin.

Triton asks while it forms a batch; that is C (``_ffi/src/batcher.c``). Here are what it needs of the model,
and the guard around ``execute``: Triton adds requests to a batch that waits for an instance without asking
anew, and what came together so is taken apart again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from triton_backend_sdk.errors import InternalError, InvalidArgError, NotFoundError

if TYPE_CHECKING:
    from triton_backend_sdk.model import Model

Execute = Callable[[list[Any]], Any]
#: Parameters of a model's config: at most so much in one batch.
LIMITS = ("max_batch_elements", "max_batch_bytes", "max_batch_padded_elements")
#: The inputs that count for it, separated by commas; all if not given.
COUNTED = "max_batch_of"
#: Which of the model's hooks take part, with all their arguments.
HOOKS = {
    "batch_initialize": ("model",),
    "batch_include": ("model", "batch", "request"),
    "batch_finalize": ("model", "batch"),
}


@dataclass
class Size:
    """What a batch holds, as the rule counts it."""

    elements: int = 0
    nbytes: int = 0
    rows: int = 0
    #: Elements of the longest row.
    longest: int = 0

    def __add__(self, other: Size) -> Size:
        return Size(
            self.elements + other.elements,
            self.nbytes + other.nbytes,
            self.rows + other.rows,
            max(self.longest, other.longest),
        )


@dataclass(frozen=True)
class Rule:
    """The limits of a model's config; None where it sets none."""

    elements: int | None
    nbytes: int | None
    padded: int | None
    #: Names of the inputs that count; empty: all.
    inputs: tuple[str, ...]

    @classmethod
    def of(cls, model: Model) -> Rule | None:
        """Read a model's rule; None if its config has none.

        :raises InvalidArgError: a limit is no positive integer.
        :raises NotFoundError: an input is named that the config does not declare.
        """
        limits = [model.parameters.get_int(name) if name in model.parameters else None for name in LIMITS]
        for name, limit in zip(LIMITS, limits, strict=True):
            if limit is not None and not 0 < limit < 1 << 63:
                raise InvalidArgError(
                    f"parameter '{name}' of model '{model.name}' is {limit}; it must be positive"
                )
        text = model.parameters.get_str(COUNTED, "")
        inputs = tuple(name.strip() for name in text.split(",") if name.strip())
        declared = [spec.name for spec in model.inputs]
        for name in inputs:
            if name not in declared:
                raise NotFoundError(
                    f"parameter '{COUNTED}' of model '{model.name}' names '{name}', "
                    f"but its inputs are {declared}"
                )
        elements, nbytes, padded = limits
        return cls(elements, nbytes, padded, inputs) if any(limits) else None

    def measure(self, request: Any) -> Size:
        """Give what a request adds to a batch; it may be queued or executed."""
        counted = [request[name] for name in request if name in self.inputs or not self.inputs]
        elements = sum(math.prod(tensor.shape) for tensor in counted)
        rows = max(1, request.batch_size)
        return Size(elements, sum(tensor.nbytes for tensor in counted), rows, elements // rows)

    def allows(self, size: Size) -> bool:
        """Tell whether a batch may hold so much."""
        reached = (
            (size.elements, self.elements),
            (size.nbytes, self.nbytes),
            (size.rows * size.longest, self.padded),
        )
        return all(limit is None or value <= limit for value, limit in reached)


class Batcher:
    """The rule and the hooks of one model.

    :param hooks: callables by hook name, with all the arguments that the hook can take.
    :param on_error: logs a hook's exception.
    """

    def __init__(
        self,
        model: Model,
        rule: Rule | None,
        hooks: dict[str, Callable[..., Any]],
        on_error: Callable[[str, BaseException], None],
    ) -> None:
        self.model = model
        self.rule = rule or Rule(None, None, None, ())
        self.initialize = hooks.get("batch_initialize", _namespace)
        self.include = hooks.get("batch_include")
        self.finalize = hooks.get("batch_finalize")
        self.on_error = on_error

    def unused_because(self, attached: bool) -> str | None:
        """Say why Triton does not ask, None if it does."""
        config = self.model.config
        if "sequence_batching" in config:
            return "Triton knows none with sequence batching"
        if "dynamic_batching" not in config or self.model.max_batch_size == 0:
            return "the config has no dynamic_batching with a max_batch_size above 0"
        directory = self.model.backend.directory
        if not attached and (directory / "batchstrategy.so").exists():
            return (
                f"Triton found another batchstrategy.so before that of {directory}, in the model's directory"
            )
        if not attached:
            return (
                f"{directory} has no batchstrategy.so, so that batches are only divided "
                "before execute; write `batcher = true` under [tool.tbsdk] in pyproject.toml and build again"
            )
        return None

    def guard(self, execute: Execute, formed: Callable[[list[int]], bool]) -> Execute:
        """Wrap execute: requests that were not put together as one batch are executed apart.

        :param formed: tells by their handles whether requests were.
        """

        def guarded(requests: list[Any]) -> Any:
            if len(requests) < 2 or formed([request._handle for request in requests]):
                return execute(requests)
            batches = self.divide(requests)
            if len(batches) == 1:
                return execute(requests)
            return [item for batch in batches for item in _items(execute, batch)]

        return guarded

    def divide(
        self, requests: Sequence[Any], allows: Callable[[list[Any], Any], bool] = lambda batch, request: True
    ) -> list[list[Any]]:
        """Make batches of requests in their order, as Triton would with all of them queued.

        :param allows: tells whether a request may join a batch, before rule and hooks are asked.
        """
        batches: list[list[Any]] = []
        size, batch = Size(), _Batch(self)
        for request in requests:
            added = self.rule.measure(request)
            fits = bool(batches) and allows(batches[-1], request) and self.rule.allows(size + added)
            fits = fits and batch.includes(request)
            if fits:
                size += added
                batches[-1].append(request)
                continue
            batch.end()
            size, batch = added, _Batch(self)
            batch.includes(request)
            batches.append([request])
        batch.end()
        return batches


def _namespace(model: Model) -> SimpleNamespace:
    return SimpleNamespace()


class _Batch:
    """A batch being formed, in the hooks' eyes."""

    def __init__(self, batcher: Batcher) -> None:
        self._batcher = batcher
        self._state: Any = None
        self._begun = self._failed = False

    def includes(self, request: Any) -> bool:
        batcher = self._batcher
        if batcher.include is None or self._failed:
            return not self._failed
        hook = "batch_initialize"
        try:
            if not self._begun:
                self._state = batcher.initialize(batcher.model)
                self._begun = True
            hook = "batch_include"
            answer = batcher.include(batcher.model, self._state, request)
            if answer is None or not hasattr(answer, "__bool__"):
                raise TypeError(f"batch_include returned {answer!r}; return True or False")
            return bool(answer)
        except BaseException as error:
            self._failed = True
            batcher.on_error(hook, error)
            return False

    def end(self) -> None:
        if not self._begun or self._batcher.finalize is None:
            return
        try:
            self._batcher.finalize(self._batcher.model, self._state)
        except BaseException as error:
            self._batcher.on_error("batch_finalize", error)


def _items(execute: Execute, batch: list[Any]) -> list[Any]:
    """Give a batch's responses; what is wrong with it fails this batch and no other."""
    try:
        result = execute(batch)
        if not isinstance(result, (list, tuple)):
            what = type(result).__name__
            raise InternalError(f"execute returned {what}; return a list with one Response per request")
        if len(result) != len(batch):
            raise InternalError(
                f"execute returned {len(result)} responses for {len(batch)} requests; "
                "return one per request, in their order"
            )
    except BaseException as error:
        return [error] * len(batch)
    return list(result)
