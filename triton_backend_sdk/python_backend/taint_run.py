"""Runs the functions of a model's source over what is known of their values."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from typing import Any

from triton_backend_sdk.python_backend.taint import ARRAY, HOLDER, NONE, Env, Finding, Function, Model
from triton_backend_sdk.python_backend.taint_levels import WRITE_ATTRIBUTES, Levels


def follow(model: Model) -> Finding | None:
    """Run all functions until nothing more becomes known; give the first finding."""
    for _ in range(10):
        news = False
        for functions in list(model.functions.values()):
            for function in list(functions):
                news |= Run(model, function).run()
                if model.findings:
                    return model.findings[0]
        if not news:
            break
    return None


class Run(Levels):
    """One run of one function."""

    def run(self) -> bool:
        """Run it; tell whether something became known."""
        self.block(self.function.node.body, {**self.function.closure, **self.function.given})
        return self.news

    def block(self, statements: Iterable[ast.stmt], env: Env) -> Env:
        """Run statements one after another; the environment changes."""
        for statement in statements:
            handler: Callable[[Any, Env], None] = getattr(
                self, f"on_{type(statement).__name__.lower()}", self.other
            )
            handler(statement, env)
        return env

    def other(self, node: ast.AST, env: Env) -> None:
        """Run whatever is in a statement of no interest of its own: twice, for loops."""
        for _ in range(2):
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.expr):
                    self.level(child, env)
                elif isinstance(child, ast.stmt):
                    self._join(env, self.block([child], dict(env)))
                else:
                    self.other(child, env)

    @staticmethod
    def _join(env: Env, after: Env) -> None:
        for name, level in after.items():
            env[name] = max(level, env.get(name, NONE))

    def on_if(self, node: ast.If, env: Env) -> None:
        """Join both branches."""
        self.level(node.test, env)
        then, otherwise = self.block(node.body, dict(env)), self.block(node.orelse, dict(env))
        env.clear()
        self._join(env, then)
        self._join(env, otherwise)

    def on_for(self, node: ast.For | ast.AsyncFor, env: Env) -> None:
        """Bind parts of what is iterated over."""
        for _ in range(2):
            after = dict(env)
            self.bind(node.target, ARRAY if self.level(node.iter, env) else NONE, after)
            self._join(env, self.block(node.body, after))
        self.block(node.orelse, env)

    on_asyncfor = on_for

    def on_with(self, node: ast.With | ast.AsyncWith, env: Env) -> None:
        """Run the block with its names."""
        for item in node.items:
            level = self.level(item.context_expr, env)
            if item.optional_vars is not None:
                self.bind(item.optional_vars, level, env)
        self.block(node.body, env)

    on_asyncwith = on_with

    def on_assign(self, node: ast.Assign, env: Env) -> None:
        """Bind each target."""
        level = self.level(node.value, env)
        for target in node.targets:
            pairs = _pairs(target, node.value)
            for part, value in pairs:
                self.bind(part, self.level(value, env), env)
            if not pairs:
                self.bind(target, level, env)

    def on_annassign(self, node: ast.AnnAssign, env: Env) -> None:
        """Bind the target, if there is a value."""
        if node.value is not None:
            self.bind(node.target, self.level(node.value, env), env)

    def on_augassign(self, node: ast.AugAssign, env: Env) -> None:
        """``x += 1`` writes into an array."""
        level = self.level(node.value, env)
        if self.level(node.target, env) == ARRAY:
            self.find(node, "writes into it")
        elif level and isinstance(node.target, ast.Name):
            env[node.target.id] = max(HOLDER, env.get(node.target.id, NONE))
        elif level:
            self.find(node, "keeps it")

    def on_return(self, node: ast.Return, env: Env) -> None:
        """Note what it gives."""
        level = self.level(node.value, env) if node.value is not None else NONE
        if level > self.function.returns:
            self.function.returns = level
            self.news = True

    def on_functiondef(self, node: ast.FunctionDef | ast.AsyncFunctionDef, env: Env) -> None:
        """Run a function within, which sees what is around it."""
        inner = Function(node, self.function.file, False, dict(env))
        self.model.add(inner)
        self.news |= Run(self.model, inner).run()

    on_asyncfunctiondef = on_functiondef

    def bind(self, target: ast.expr, level: int, env: Env) -> None:
        """Give a target a value of this level."""
        if isinstance(target, ast.Name):
            if level and target.id in self.function.globals:
                self.find(target, "keeps it")
            env[target.id] = level
        elif isinstance(target, (ast.Tuple, ast.List)):
            for part in target.elts:
                self.bind(part, ARRAY if level else NONE, env)
        elif isinstance(target, ast.Starred):
            self.bind(target.value, HOLDER if level else NONE, env)
        elif isinstance(target, ast.Attribute):
            if target.attr in WRITE_ATTRIBUTES and self.level(target.value, env) == ARRAY:
                self.find(target, "writes into it")
            elif level:
                self.find(target, "keeps it")
        elif isinstance(target, ast.Subscript):
            if self.level(target.value, env) == ARRAY:
                self.find(target, "writes into it")
            elif level:
                self.put(target.value, env)


def _pairs(target: ast.expr, value: ast.expr) -> list[tuple[ast.expr, ast.expr]]:
    """Give what is bound to what in ``a, b = c, d``."""
    if not (isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)):
        return []
    return list(zip(target.elts, value.elts, strict=True)) if len(target.elts) == len(value.elts) else []
