"""Follows the arrays of inputs through a model's source: where one is written into, or kept.

What is followed is how far a value is from an input: it is its memory, or holds it (a list, a dict), or has
nothing to do with it. Functions are run in their order, branches and loops joined, and known by their names
only: it is meant to find what people write, and says rather too often that an input is written into.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field

#: How far a value is from an input's memory.
NONE, HOLDER, ARRAY = 0, 1, 2
Env = dict[str, int]


@dataclass(frozen=True)
class Finding:
    """A line that makes copies necessary."""

    file: str
    line: int
    what: str


@dataclass
class Function:
    """A function of the model's, and what is known of it so far."""

    node: ast.FunctionDef | ast.AsyncFunctionDef
    file: str
    is_method: bool
    closure: Env
    given: Env = field(default_factory=dict)
    returns: int = NONE

    def __post_init__(self) -> None:
        arguments = self.node.args
        self.parameters = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args)]
        every = [*self.parameters, *(argument.arg for argument in arguments.kwonlyargs)]
        self.globals = {
            name for node in ast.walk(self.node) if isinstance(node, ast.Global) for name in node.names
        }
        assigned = {
            node.id
            for node in ast.walk(self.node)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }
        self.locals = (assigned | set(every) | set(self.closure)) - self.globals

    def give(self, parameter: str, level: int) -> bool:
        """Note what a parameter may be; tell whether that is news."""
        if level <= self.given.get(parameter, NONE):
            return False
        self.given[parameter] = level
        return True


class Model:
    """All functions of a model's files."""

    def __init__(self, trees: Iterable[tuple[str, ast.AST]]) -> None:
        self.functions: dict[str, list[Function]] = {}
        self.findings: list[Finding] = []
        for file, tree in trees:
            self._collect(file, tree, False)

    def _collect(self, file: str, tree: ast.AST, in_class: bool) -> None:
        for node in ast.iter_child_nodes(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                static = any(getattr(item, "id", "") == "staticmethod" for item in node.decorator_list)
                self.add(Function(node, file, in_class and not static, {}))
            elif not isinstance(node, ast.expr):
                self._collect(file, node, isinstance(node, ast.ClassDef) or in_class)

    def add(self, function: Function) -> None:
        """Take a function in, once."""
        known = self.functions.setdefault(function.node.name, [])
        if all(other.node is not function.node for other in known):
            known.append(function)

    def find(self, file: str, line: int, what: str) -> None:
        """Note a line that makes copies necessary."""
        self.findings.append(Finding(file, line, what))
