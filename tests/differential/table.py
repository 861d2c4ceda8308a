"""The table of a test module: models, what is done with each, and where the answers may differ."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tritonclient.utils import InferenceServerException

from tests.differential.calls import Infer, request, texts
from tests.differential.pair import Pair, Side, write_model

#: Why answers may differ; each is told in the user guide.
LIFTED = "limit lifted"
STOCK_BUG = "stock bug, ours: clear error"
IN_PROCESS = "in process"
NEWER = "newer than the stock backend that is compared with"


@dataclass(frozen=True)
class Differs:
    """A documented difference.

    :param ours: a regular expression that is found in our answer, as text or JSON.
    :param stock: one for the stock backend's; None where it is not tried, as it would take the server down.
    """

    why: str
    note: str
    ours: str
    stock: str | None = ""


def alike(stock: Any, ours: Any) -> bool:
    """Tell whether two answers are the same, but for what the user guide says of all answers.

    - In process, the modules of an instance have a root of their own: ``name_0__m3.helper`` for ``helper``.
    - Where pybind11 says only that arguments are incompatible, ours may say how: it is a TypeError either way.
    - Frames of Python's import system, of asyncio and of the stock utils module differ.
    """
    first, second = (_ROOT.sub("", _FRAME.sub("", _text(answer))) for answer in (stock, ours))
    if _INCOMPATIBLE.search(first):
        first, second = (_TYPE_ERROR.sub("TypeError", text) for text in (first, second))
    return first == second


_ROOT = re.compile(r"\b\w+__m\d+\.")
#: As text, and as JSON has its line's end.
_FRAME = re.compile(
    r"  (<frozen importlib|[^\s\"]*/asyncio/|[^\s\"]*/triton_python_backend_utils\.py\()[^\n]*?(\n|\\n)"
)
_INCOMPATIBLE = re.compile(
    "TypeError: .*(incompatible (function|constructor) arguments|No constructor defined|is not an instance of)"
)
_TYPE_ERROR = re.compile('TypeError: [^"]*')


@dataclass(frozen=True)
class Step:
    """One thing that is done with a model, and whose answers are compared."""

    name: str
    call: Any
    differs: Differs | None = None


@dataclass(frozen=True)
class Probe:
    """A method of a model made of probes."""

    name: str
    differs: Differs | None = None


@dataclass(frozen=True)
class Case:
    """A model and the steps, in their order."""

    model: str
    steps: tuple[Step, ...] = ()
    probes: tuple[Probe, ...] = ()
    #: Other models that it calls.
    needs: tuple[str, ...] = ()
    #: Models that lie in the repository, not loaded.
    beside: tuple[str, ...] = ()
    #: A documented difference of how loading ends.
    load: Differs | None = None

    def ids(self) -> list[tuple[str, str]]:
        return [(self.model, name) for name in ("load", *self._names())]

    def _names(self) -> list[str]:
        return [probe.name for probe in self.probes] + [step.name for step in self.steps]

    def differences(self) -> dict[str, Differs]:
        found = {item.name: item.differs for item in (*self.probes, *self.steps) if item.differs}
        return found | ({"load": self.load} if self.load else {})

    @staticmethod
    def _tried(side: Side, items: Sequence[Probe | Step]) -> list[str]:
        ours = side.name == "ours"
        return [item.name for item in items if ours or not item.differs or item.differs.stock is not None]

    def run(self, side: Side) -> dict[str, Any]:
        for other in self.needs:
            problem = side.ensure(other)
            assert not problem, f"{side.name}: {other}: {problem}"
        for other in self.beside:
            write_model(side.repository, other)
        if side.name != "ours" and self.load and self.load.stock is None:
            return {}
        answers: dict[str, Any] = {"load": side.ensure(self.model)}
        if names := self._tried(side, self.probes):
            found = Infer(request(IN=texts(*names))).run(side, self.model)
            each = found["outputs"]["OUT"][2] if isinstance(found, dict) else [found] * len(names)
            answers.update(zip(names, each, strict=True))
        for step in self.steps:
            if step.name not in self._tried(side, self.steps):
                continue
            try:
                answers[step.name] = step.call.run(side, self.model)
            except (InferenceServerException, OSError) as error:
                answers[step.name] = f"{type(error).__name__}: {side.plain(str(error))}"
        return answers


def probes(names: str, **differs: Differs) -> tuple[Probe, ...]:
    """Make probes of names with blanks between; by name, which differ."""
    unknown = set(differs) - set(names.split())
    assert not unknown, f"no such probes: {unknown}"
    return tuple(Probe(name, differs.get(name)) for name in names.split())


def step(name: str, call: Any, differs: Differs | None = None) -> Step:
    return Step(name, call, differs)


#: The stock server, or a stub, dies now and then: of what another model did, or of load.
_DEAD = re.compile(
    "is not healthy|Socket closed|failed to connect|Connection refused|Connection reset|Remote end closed"
)
_ATTEMPTS = 3


@dataclass
class Answers:
    """The answers of both sides to a table, which come in while tests wait for theirs."""

    pair: Pair
    table: dict[str, Case]
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(4))
    _found: dict[str, list[Future]] = field(default_factory=dict)

    def start(self, models: list[str]) -> None:
        """Begin with all of these: loading takes the stock backend a second each."""
        for model in models:
            sides = (self.pair.stock, self.pair.ours)
            self._found[model] = [self._pool.submit(self.table[model].run, side) for side in sides]

    def check(self, model: str, name: str) -> None:
        """Compare the two answers.

        :raises AssertionError: they differ and should not, or should and do not.
        """
        ours, stock = self._found[model][1].result().get(name), self._stock(model).get(name)
        differs = self.table[model].differences().get(name)
        if differs is None:
            assert alike(stock, ours), f"{model}, {name}: not as the stock backend\n{_compare(stock, ours)}"
            return
        assert not alike(stock, ours), (
            f"{model}, {name}: no difference any more ({differs.note})\n{_text(ours)}"
        )
        assert re.search(differs.ours, _text(ours)), f"{differs.note}: {differs.ours!r} not in\n{_text(ours)}"
        told = differs.stock is None or re.search(differs.stock, _text(stock))
        assert told, f"{differs.stock!r} not in stock's\n{_text(stock)}"

    def _stock(self, model: str) -> dict[str, Any]:
        """Give the stock backend's answers, from a server of their own where a neighbour took theirs down."""
        future = self._found[model][0]
        for _ in range(_ATTEMPTS):
            if not _DEAD.search(
                str(future.exception()) if future.exception() else json.dumps(future.result())
            ):
                break
            with self.pair.another_stock() as side:
                again = self.table[model].run(side)
            future = self._found[model][0] = Future()
            future.set_result(again)
        return future.result()

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def _text(answer: Any) -> str:
    return answer if isinstance(answer, str) else json.dumps(answer, indent=1, ensure_ascii=False)


def _compare(stock: Any, ours: Any) -> str:
    lines = (_text(answer).splitlines() for answer in (stock, ours))
    return "\n".join(difflib.ndiff(*lines))


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)
