"""What the names in a model stand for: requests, tensors, responses. Found by walking its functions.

It follows assignments in order, branches, loops, attributes of ``self`` and calls of the file's own
functions. What it cannot follow has no kind; what may be two things is MIXED.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from triton_backend_sdk.tools.migrate.expressions import Expressions
from triton_backend_sdk.tools.migrate.kind import NONE, Env, Kind, join
from triton_backend_sdk.tools.migrate.source import Function, Source

_TRIES = (ast.Try, getattr(ast, "TryStar", ast.Try))  # the second from Python 3.11 on
#: Parameters of Triton's own calls.
_GIVEN = {
    ("execute", 1): Kind("list[InferenceRequest]"),
    ("initialize", 1): Kind("args"),
    ("auto_complete_config", 0): Kind("ModelConfig"),
}


class Kinds(Expressions):
    """The kind of every expression of a file."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self._module: Env = {}
        self._current: Function | None = None
        self._given()
        before: object = None
        for _ in range(6):  # until nothing changes; each round carries a kind over one more call
            self._round()
            state = (dict(self._attributes), repr(self._parameters), repr(self._returns))
            if state == before:
                break
            before = state

    def _given(self) -> None:
        for (owner, name), node in self.functions.items():
            self._parameters[node] = {}
            if owner == "TritonPythonModel":
                for at, arg in enumerate(node.args.args):
                    if (name, at) in _GIVEN:
                        self._parameters[node][arg.arg] = _GIVEN[name, at]

    def _round(self) -> None:
        self.of.clear()
        self._block(self.source.tree.body, self._module)
        for node in self.functions.values():
            self._current = node
            outer = self.source.function_of(node)
            env = {**self._module, **(self._parameters[outer] if outer else {}), **self._parameters[node]}
            for arg in ast.walk(node.args):
                if isinstance(arg, ast.arg):
                    env.setdefault(arg.arg, None)
                    env[arg.arg] = self._parameters[node].get(arg.arg)
            self._block(node.body, env)
        self._current = None

    # --- statements ------------------------------------------------------------------------------------

    def _block(self, body: Iterable[ast.stmt], env: Env) -> None:
        for statement in body:
            self._statement(statement, env)

    def _statement(self, node: ast.stmt, env: Env) -> None:  # noqa: PLR0912  a table, in code
        if isinstance(node, (Function, ast.ClassDef)):
            return
        if isinstance(node, ast.Assign):
            kind = self.kind(node.value, env)
            for target in node.targets:
                self._bind(target, kind, env, node.value)
        elif isinstance(node, (ast.AnnAssign, ast.AugAssign)):
            kind = self.kind(node.value, env) if node.value else None
            if isinstance(node, ast.AugAssign):
                old = self.kind(node.target, env)
                kind = old if old is not None and (old.name == "Array" or old.element) else None
            self._bind(node.target, kind, env)
        elif isinstance(node, (ast.For, ast.AsyncFor, ast.While)):
            self._loop(node, env)
        elif isinstance(node, ast.If):
            self.kind(node.test, env)
            self._branches([node.body, node.orelse], env)
        elif isinstance(node, _TRIES):
            self._branches([[*node.body, *node.orelse], *(one.body for one in node.handlers), []], env)
            self._block(node.finalbody, env)
        elif isinstance(node, (ast.With, ast.AsyncWith)):
            for item in node.items:
                self.kind(item.context_expr, env)
                if item.optional_vars:
                    self._bind(item.optional_vars, None, env)
            self._block(node.body, env)
        elif isinstance(node, ast.Match):
            self.kind(node.subject, env)
            self._branches([*(case.body for case in node.cases), []], env)
        else:
            self._simple(node, env)

    def _simple(self, node: ast.stmt, env: Env) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                kind = self.kind(child, env)
                if isinstance(node, ast.Return) and self._current is not None:
                    known = self._returns.get(self._current, NONE)
                    self._returns[self._current] = join(known, kind)

    def _loop(self, node: ast.For | ast.AsyncFor | ast.While, env: Env) -> None:
        for _ in range(2):  # what the first round binds, the second may read
            before = dict(env)
            if isinstance(node, ast.While):
                self.kind(node.test, env)
            else:
                kind = self.kind(node.iter, env)
                self._bind(node.target, kind.element if kind else None, env, iterated=node.iter)
            self._block(node.body, env)
            self._merge(env, [before, dict(env)])
        self._block(node.orelse, env)

    def _branches(self, bodies: list[list[ast.stmt]], env: Env) -> None:
        ends = []
        for body in bodies:
            end = dict(env)
            self._block(body, end)
            left = body and isinstance(body[-1], (ast.Return, ast.Raise, ast.Continue, ast.Break))
            if not left:
                ends.append(end)
        self._merge(env, ends)

    def _merge(self, env: Env, ends: list[Env]) -> None:
        for name in {name for end in ends for name in end}:
            bound = [end[name] for end in ends if name in end]
            kind = bound[0]
            for other in bound[1:]:
                kind = join(kind, other)
            env[name] = kind
