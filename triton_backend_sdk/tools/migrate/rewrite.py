"""A simple model's source as that of an SDK plugin: the same text, with Triton's names exchanged.

Whatever is not understood is refused, and the model gets a wrapper instead.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

from triton_backend_sdk.tools.migrate import names
from triton_backend_sdk.tools.migrate.checks import written_arrays
from triton_backend_sdk.tools.migrate.editor import Editor, Refusal
from triton_backend_sdk.tools.migrate.inventory import Inventory
from triton_backend_sdk.tools.migrate.rewrite_calls import Calls
from triton_backend_sdk.tools.migrate.rewrite_context import check_contexts
from triton_backend_sdk.tools.migrate.simple import check_simple
from triton_backend_sdk.tools.migrate.source import MODEL_CLASS, Function, Source

_FIND_CONFIG = '''

def find_config(config, side, name):
    """Give what the model's config says of an input or output."""
    return next((tensor for tensor in config.get(side, []) if tensor["name"] == name), None)
'''
_CLASS = "Plugin"
#: So that the same outputs are sent, also those that the config says otherwise of.
_AS_GIVEN = "instance.outputs_as_given = True  # without it they are held against the config"


@dataclass(frozen=True)
class Rewriting:
    """A model as an SDK plugin."""

    #: The text of plugin.py; None where it takes a wrapper.
    text: str | None
    #: Why it takes a wrapper.
    reason: str = ""
    #: What to look at in the text.
    notes: list[str] = field(default_factory=list)


def rewrite(inventory: Inventory) -> Rewriting:
    """Write a model anew as an SDK plugin, if it is simple enough."""
    try:
        check_simple(inventory)
        return _Writer(inventory).write()
    except Refusal as refusal:
        line = f" (line {refusal.line})" if refusal.line else ""
        return Rewriting(None, refusal.reason + line)


class _Writer:
    def __init__(self, inventory: Inventory) -> None:
        self._source: Source = inventory.sources[0]
        self._kinds = inventory.kinds[self._source.path]
        self._editor = Editor(self._source)
        self._written = written_arrays(self._source, self._kinds)
        self._calls = Calls(self._source, self._kinds, self._editor, self._written)

    def write(self) -> Rewriting:
        calls = self._calls
        calls.rewrite()
        self._hooks()
        check_contexts(self._source, self._kinds, calls.done)
        self._class()
        self._imports()
        text = self._editor.text()
        try:
            tree = ast.parse(text)
        except SyntaxError as error:
            raise Refusal(f"its text came out wrong: {error.msg} in line {error.lineno}") from error
        self._check(tree)
        notes = [
            f"line {line}: an input's array may be written to or kept, so it is copied as on the stock "
            "backend; without `.copy()` it is a read-only view"
            for line in sorted(set(self._written.values()))
        ]
        return Rewriting(text, notes=notes)

    def _check(self, tree: ast.Module) -> None:
        left = self._source.modules | set(self._source.members)
        taken = self._calls.needs | {"hookimpl"}
        for node in ast.walk(self._source.tree):
            bound = node.id if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) else ""
            if isinstance(node, (Function, ast.ClassDef)):
                bound = node.name
            if isinstance(node, ast.alias) and node.name not in names.MODULES:
                bound = node.asname or node.name
            if bound in taken and bound not in self._source.members:
                raise Refusal(f"the name {bound} is taken", node)
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and node.id in left - taken:
                raise Refusal(f"{node.id} is used in a way that is not understood", node)

    def _hooks(self) -> None:
        self._add_initialize()
        for name in ("initialize", "execute", "finalize", "is_ready"):
            method = self._source.method(name)
            if method is None:
                continue
            self._editor.before(method, "@hookimpl\n" + " " * method.col_offset)
            if name == "initialize":
                self._rename(method, "instance")
                self._outputs_as_given(method)
            elif name == "execute":
                self._rename(method, "requests")

    def _add_initialize(self) -> None:
        execute = self._source.method("execute")
        if execute is None or self._source.method("initialize") is not None:
            return
        indent = " " * execute.col_offset
        text = f"@hookimpl\n{indent}def initialize(self, instance):\n{indent}    {_AS_GIVEN}\n\n{indent}"
        self._editor.before(execute, text)

    def _outputs_as_given(self, method: Function) -> None:
        """Have outputs sent as on the stock backend, whatever the config says of them."""
        body = method.body
        first = (
            body[1]
            if len(body) > 1 and isinstance(body[0], ast.Expr) and ast.get_docstring(method)
            else body[0]
        )
        if first.lineno == method.lineno:
            self._editor.before(first, "instance.outputs_as_given = True; ")
        else:
            self._editor.before(first, f"{_AS_GIVEN}\n{' ' * first.col_offset}")

    def _rename(self, method: Function, name: str) -> None:
        given = method.args.args[1]
        bound = {node.id for node in ast.walk(method) if isinstance(node, ast.Name)} - {given.arg}
        if given.arg == name:
            return
        if name in bound:
            raise Refusal(f"its {method.name} has a variable {name!r} of its own", method)
        annotated = given.annotation is not None and name == "instance"
        if annotated:
            self._calls.needs.add("ModelInstance")
            self._editor.replace(given, "instance: ModelInstance")
            return
        start = self._editor.start(given)
        self._editor.between(start, start + len(given.arg.encode()), name)
        for node in ast.walk(method):
            if isinstance(node, ast.Name) and node.id == given.arg and name == "requests":
                self._editor.replace(node, name)

    def _class(self) -> None:
        cls = self._source.model_class
        assert cls is not None
        taken = any(isinstance(node, ast.Name) and node.id == _CLASS for node in ast.walk(self._source.tree))
        if taken:
            return
        start = self._editor.start(cls)
        at = self._source.data.index(MODEL_CLASS.encode(), start)
        self._editor.between(at, at + len(MODEL_CLASS), _CLASS)
        for node in ast.walk(self._source.tree):
            if isinstance(node, ast.Name) and node.id == MODEL_CLASS:
                self._editor.replace(node, _CLASS)

    def _imports(self) -> None:
        calls, source = self._calls, self._source
        needs = ", ".join(sorted(calls.needs | {"hookimpl"}))
        replaced = 0
        for node in ast.walk(source.tree):
            if not _is_triton(node):
                continue
            if source.function_of(node) is not None or (isinstance(node, ast.Import) and len(node.names) > 1):
                raise Refusal("it imports triton_python_backend_utils in an unusual way", node)
            self._editor.replace(node, "pass" if replaced else f"from triton_backend_sdk import {needs}")
            replaced += 1
        if not replaced:
            raise Refusal("it does not import triton_python_backend_utils")
        self._json()
        last = [node for node in source.tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
        if calls.logs:
            self._editor.after(last[-1], "\n\n_log = logging.getLogger(__name__)")
            if "logging" not in _imported(source.tree):
                self._editor.before(_first(source.tree, "logging"), "import logging\n")
        if calls.finds_config:
            self._editor.after(last[-1], "\n" + _FIND_CONFIG.rstrip("\n"))

    def _json(self) -> None:
        """Add or remove ``import json``, as it is needed."""
        tree = self._source.tree
        used = [
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.Name) and node.id == "json" and node not in self._calls.done
        ]
        statement = next(
            (
                node
                for node in tree.body
                if isinstance(node, ast.Import) and [alias.name for alias in node.names] == ["json"]
            ),
            None,
        )
        if self._calls.dumps and "json" not in _imported(tree):
            self._editor.before(_first(tree, "json"), "import json\n")
        elif statement is not None and not used and not self._calls.dumps:
            self._editor.line(statement)


_Imports = (ast.Import, ast.ImportFrom)


def _is_triton(node: ast.AST) -> bool:
    if isinstance(node, ast.Import):
        return any(alias.name in names.MODULES for alias in node.names)
    return isinstance(node, ast.ImportFrom) and node.module in names.MODULES


def _first(tree: ast.Module, name: str) -> ast.stmt:
    """Give the statement before which the import of a standard module goes."""
    own = [node for node in tree.body if isinstance(node, _Imports)]
    later = [node for node in own if isinstance(node, ast.ImportFrom) or node.names[0].name > name]
    return next((node for node in later if getattr(node, "module", "") != "__future__"), own[-1])


def _imported(tree: ast.Module) -> set[str]:
    return {
        alias.asname or alias.name for node in tree.body if isinstance(node, _Imports) for alias in node.names
    }
