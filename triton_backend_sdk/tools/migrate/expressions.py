"""What expressions give, and the names that are bound to it."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from triton_backend_sdk.tools.migrate import names
from triton_backend_sdk.tools.migrate.arrays import is_view_of
from triton_backend_sdk.tools.migrate.kind import NONE, Env, Kind, join, listed
from triton_backend_sdk.tools.migrate.source import Function, Source, dotted


class Expressions:
    """The kinds of a file's expressions, as far as they have been walked."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.of: dict[ast.AST, Kind | None] = {}
        self.functions = {
            (self._class_of(node), node.name): node
            for node in ast.walk(source.tree)
            if isinstance(node, Function)
        }
        self._attributes: Env = {}
        self._parameters: dict[Function, Env] = {}
        self._returns: dict[Function, Kind | None] = {}

    def called(self, call: ast.Call) -> Function | None:
        """Give the file's own function that a call is of."""
        name = dotted(call.func)
        if name.startswith(("self.", "cls.", "TritonPythonModel.")) and name.count(".") == 1:
            return self.functions.get(("TritonPythonModel", name.split(".")[1]))
        return self.functions.get(("", name))

    def arguments(self, call: ast.Call, function: Function) -> Iterable[tuple[str, ast.expr]]:
        """Pair a call's arguments with the parameters of the file's own function."""
        parameters = [arg.arg for arg in (*function.args.posonlyargs, *function.args.args)]
        static = any(dotted(mark) == "staticmethod" for mark in function.decorator_list)
        if self._class_of(function) and not static:
            parameters = parameters[1:]
        yield from zip(parameters, call.args, strict=False)
        yield from ((keyword.arg, keyword.value) for keyword in call.keywords if keyword.arg)

    def _class_of(self, node: ast.AST) -> str:
        parent = self.source.parents.get(node)
        return parent.name if isinstance(parent, ast.ClassDef) else ""

    def _bind(
        self,
        target: ast.expr,
        kind: Kind | None,
        env: Env,
        value: ast.expr | None = None,
        iterated: ast.expr | None = None,
    ) -> None:
        self.of[target] = kind
        if isinstance(target, ast.Name):
            env[target.id] = kind
        elif isinstance(target, ast.Attribute):
            if dotted(target).startswith("self."):
                name = dotted(target)
                self._attributes[name] = join(self._attributes.get(name, NONE), kind)
            else:
                self.kind(target.value, env)
        elif isinstance(target, ast.Subscript):
            self.kind(target.value, env)
            self.kind(target.slice, env)
        elif isinstance(target, (ast.Tuple, ast.List)):
            parts = self._parts(target, kind, value, iterated)
            for element, part in zip(target.elts, parts, strict=True):
                self._bind(element, part, env)
        elif isinstance(target, ast.Starred):
            self._bind(target.value, None, env)

    def _parts(
        self,
        target: ast.Tuple | ast.List,
        kind: Kind | None,
        value: ast.expr | None,
        iterated: ast.expr | None,
    ) -> list[Kind | None]:
        count = len(target.elts)
        if isinstance(value, (ast.Tuple, ast.List)) and len(value.elts) == count:
            return [self.of.get(element) for element in value.elts]
        if isinstance(iterated, ast.Call) and iterated.args:
            over = [self.of.get(argument) for argument in iterated.args]
            if dotted(iterated.func) == "enumerate" and count == 2:
                return [None, over[0].element if over[0] else None]
            if dotted(iterated.func) == "zip" and len(over) == count:
                return [one.element if one else None for one in over]
        return [kind.element if kind is not None else None] * count

    def kind(self, node: ast.expr, env: Env) -> Kind | None:
        """Give what an expression is, and note it of all its parts."""
        kind = self._kind(node, env)
        self.of[node] = kind
        return kind

    def _kind(self, node: ast.expr, env: Env) -> Kind | None:  # noqa: PLR0911  a table, in code
        if isinstance(node, ast.Constant):
            return NONE if node.value is None else None
        api = self.source.api(node)
        if api is not None and not (isinstance(node, ast.Name) and node.id in env and env[node.id]):
            return Kind(f"api:{api}")
        if isinstance(node, ast.Name):
            return env.get(node.id)
        if isinstance(node, ast.Lambda):
            self.kind(node.body, {**env, **{arg.arg: None for arg in node.args.args}})
            return None
        if isinstance(node, (ast.ListComp, ast.GeneratorExp, ast.SetComp, ast.DictComp)):
            return self._comprehension(node, env)
        if isinstance(node, ast.NamedExpr):
            kind = self.kind(node.value, env)
            self._bind(node.target, kind, env)
            return kind
        children = [
            child for child in ast.iter_child_nodes(node) if isinstance(child, (ast.expr, ast.keyword))
        ]
        for child in children:
            self.kind(child.value if isinstance(child, ast.keyword) else child, env)
        return self._whole(node, env)

    def _comprehension(
        self, node: ast.ListComp | ast.GeneratorExp | ast.SetComp | ast.DictComp, env: Env
    ) -> Kind | None:
        inner = dict(env)
        for part in node.generators:
            kind = self.kind(part.iter, inner)
            self._bind(part.target, kind.element if kind else None, inner, iterated=part.iter)
            for test in part.ifs:
                self.kind(test, inner)
        if isinstance(node, ast.DictComp):
            self.kind(node.key, inner)
            self.kind(node.value, inner)
            return None
        return listed(self.kind(node.elt, inner))

    def _whole(self, node: ast.expr, env: Env) -> Kind | None:  # noqa: PLR0911  a table, in code
        if isinstance(node, (ast.Await, ast.Starred)):
            return self.of.get(node.value)
        if isinstance(node, ast.Attribute):
            return self._attribute(node)
        if isinstance(node, ast.Subscript):
            owner = self.of.get(node.value)
            if owner is not None and owner.element and isinstance(node.slice, ast.Slice):
                return owner
            if owner is not None and owner.name in ("config", "TensorConfig"):
                return owner
            return owner.element if owner else None
        if isinstance(node, ast.IfExp):
            return join(self.of.get(node.body), self.of.get(node.orelse))
        if isinstance(node, ast.BoolOp):
            kinds = [self.of.get(value) for value in node.values]
            return kinds[0] if len(set(kinds)) == 1 else join(kinds[0], kinds[-1])
        if isinstance(node, (ast.List, ast.Tuple)):
            kinds = [self.of.get(element) for element in node.elts]
            return Kind("list[]") if not kinds else listed(kinds[0] if len(set(kinds)) == 1 else None)
        return self._call(node, env) if isinstance(node, ast.Call) else None

    def _attribute(self, node: ast.Attribute) -> Kind | None:
        owner = self.of.get(node.value)
        if dotted(node).startswith("self."):
            return self._attributes.get(dotted(node))
        if owner is not None and owner.name == "Array":
            return owner if is_view_of(node) else None
        return None

    def _call(self, node: ast.Call, env: Env) -> Kind | None:
        function = self.of.get(node.func)
        if function is not None and function.name.startswith("api:"):
            made = names.CALLS.get(function.name[4:])
            return Kind(made) if made else None
        if isinstance(node.func, ast.Attribute) and (owner := self.of.get(node.func.value)):
            return self._method(node, node.func, owner, env)
        if dotted(node.func) in ("list", "tuple", "reversed", "sorted") and len(node.args) == 1:
            return self.of.get(node.args[0])
        if dotted(node.func) == "json.loads" and _is_config(node, self.of):
            return Kind("config")
        own = self.called(node)
        if own is None:
            views = [
                kind for argument in node.args if (kind := self.of.get(argument)) and kind.name == "Array"
            ]
            return views[0] if views and is_view_of(node) else None
        for name, argument in self.arguments(node, own):
            known = self._parameters[own]
            known[name] = join(known.get(name, NONE), self.of.get(argument))
        return self._returns.get(own)

    def _method(self, node: ast.Call, func: ast.Attribute, owner: Kind, env: Env) -> Kind | None:
        if owner.name == "Array":
            return owner if is_view_of(node) else None
        if owner.element is not None or owner.name == "list[]":
            if func.attr in ("append", "extend") and len(node.args) == 1:
                added = self.of.get(node.args[0])
                grown = join(owner, listed(added) if func.attr == "append" else added)
                self._bind(func.value, grown, env)
            return owner.element if func.attr == "pop" else None
        given = names.METHODS.get(f"{names.class_of(owner.name)}.{func.attr}")
        if func.attr in ("exec", "async_exec") and any(one.arg == "decoupled" for one in node.keywords):
            given = "ResponseIterator"
        if given is None:
            return None
        return Kind(given, frozenset([node])) if given == "Array" else Kind(given)


def _is_config(node: ast.Call, of: dict[ast.AST, Kind | None]) -> bool:
    """Tell whether a call reads ``args["model_config"]``."""
    read = node.args[0] if len(node.args) == 1 else None
    if not isinstance(read, ast.Subscript) or of.get(read.value) != Kind("args"):
        return False
    return isinstance(read.slice, ast.Constant) and read.slice.value == "model_config"
