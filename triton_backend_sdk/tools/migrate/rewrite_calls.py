"""The names of ``triton_python_backend_utils`` exchanged for the SDK's, call by call."""

from __future__ import annotations

import ast
from collections.abc import Collection

from triton_backend_sdk.tools.migrate import rewrite_outputs
from triton_backend_sdk.tools.migrate.editor import Editor, Refusal
from triton_backend_sdk.tools.migrate.kind import Kind
from triton_backend_sdk.tools.migrate.kinds import Kinds
from triton_backend_sdk.tools.migrate.source import Source, dotted, is_annotation

#: Key of initialize's args to what gives it.
_ARGS = {
    "model_name": "instance.model.name",
    "model_version": "str(instance.model.version)",
    "model_repository": "str(instance.model.directory)",
    "model_instance_name": "instance.name",
    "model_instance_kind": "instance.kind.name",
    "model_instance_device_id": "str(instance.device_id)",
    "model_config": "json.dumps(instance.model.config)",
}
#: Method of a request or input to what follows its object's name.
_METHODS = {
    "InferenceRequest.request_id": ".id",
    "InferenceRequest.correlation_id": ".correlation_id",
    "InferenceRequest.flags": ".flags",
    "InferenceRequest.timeout": ".timeout_us",
    "InferenceRequest.is_cancelled": ".is_cancelled()",
    "InferenceRequest.inputs": ".values()",
    "Tensor.name": ".name",
}
#: Those of which the SDK gives another type.
_CONVERTED = {
    "InferenceRequest.requested_output_names": ("set", ".requested_outputs"),
    "InferenceRequest.parameters": ("json.dumps", ".parameters"),
    "Tensor.shape": ("list", ".shape"),
}
#: What takes a tuple as well as a list.
_TAKE_ANY = frozenset(["list", "tuple", "sorted", "set", "len", "enumerate"])
_LOG = {"log_info": "info", "log_warn": "warning", "log_error": "error", "log_verbose": "debug"}
_FLAGS = {
    f"TRITONSERVER_REQUEST_FLAG_SEQUENCE_{name}": f"RequestFlag.SEQUENCE_{name}" for name in ("START", "END")
}
_ANNOTATIONS = {"InferenceRequest": "Request", "InferenceResponse": "Response", "Tensor": "Tensor"}


class Calls:
    """Exchanges the names, and tells what the new ones need."""

    def __init__(self, source: Source, kinds: Kinds, editor: Editor, written: Collection[ast.AST]) -> None:
        self.source = source
        self.kinds = kinds
        self.editor = editor
        #: Names to import from the SDK.
        self.needs: set[str] = set()
        #: Nodes that have been dealt with.
        self.done: set[ast.AST] = set()
        self.logs = False
        self.dumps = False
        self.finds_config = False
        self._written = written

    def rewrite(self) -> None:
        """Exchange all of them.

        :raises Refusal: one is not understood.
        """
        for node in ast.walk(self.source.tree):
            if isinstance(node, ast.Call):
                self._call(node)
            elif isinstance(node, ast.Subscript) and self._is(node.value, "args") and node not in self.done:
                self._argument(node, node.slice)
        rewrite_outputs.rewrite(self)
        for node in ast.walk(self.source.tree):
            if isinstance(node, (ast.Name, ast.Attribute)) and node not in self.done:
                self._name(node)

    def finish(self, *nodes: ast.AST) -> None:
        """Note that nodes have been dealt with, and the names in a function's expression with them."""
        for node in nodes:
            self.done.add(node)
            if isinstance(node, ast.Attribute) and self.source.api(node) is not None:
                self.finish(node.value)

    def _is(self, node: ast.AST, *kinds: str) -> bool:
        kind = self.kinds.of.get(node)
        return kind is not None and kind.name in kinds

    def _call(self, call: ast.Call) -> None:
        name = self.source.api(call.func)
        if name is not None and (exchange := getattr(self, f"_{name.replace('.', '_')}", None)) is not None:
            exchange(call)
            self.finish(call.func)
        elif isinstance(call.func, ast.Attribute):
            self._method(call, call.func)

    # --- functions -------------------------------------------------------------------------------------

    def _get_input_tensor_by_name(self, call: ast.Call) -> None:
        request, name = _two(call)
        if not isinstance(request, (ast.Name, ast.Attribute, ast.Subscript)):
            raise Refusal("an input is taken from what is no plain name", call)
        needed = self._is_needed(call)
        self.editor.between(self.editor.start(call), self.editor.start(request), "")
        between = "[" if needed else ".get("
        self.editor.between(self.editor.end(request), self.editor.start(name), between)
        self.editor.between(self.editor.end(name), self.editor.end(call), "]" if needed else ")")
        self.done.add(request)

    def _is_needed(self, call: ast.Call) -> bool:
        """Tell whether a missing input would be an error at once, rather than None."""
        outer = self.source.parents[call]
        if isinstance(outer, ast.Attribute):
            return True
        if not isinstance(outer, ast.Assign) or not isinstance(outer.targets[0], ast.Name):
            return False
        bound = outer.targets[0].id
        function = self.source.function_of(call) or self.source.tree
        uses = [
            self.source.parents[node]
            for node in ast.walk(function)
            if isinstance(node, ast.Name) and node.id == bound and isinstance(node.ctx, ast.Load)
        ]
        return all(isinstance(use, ast.Attribute) for use in uses)

    def _get_output_config_by_name(self, call: ast.Call) -> None:
        self._find_config(call, "output")

    def _get_input_config_by_name(self, call: ast.Call) -> None:
        self._find_config(call, "input")

    def _find_config(self, call: ast.Call, side: str) -> None:
        _, name = _two(call)
        self.finds_config = True
        self.editor.replace(call.func, "find_config")
        self.editor.before(name, f'"{side}", ')

    def _triton_string_to_numpy(self, call: ast.Call) -> None:
        _one(call)
        self.needs.add("DataType")
        self.editor.replace(call.func, "DataType.of")
        self.editor.after(call, ".numpy().type")

    def _using_decoupled_model_transaction_policy(self, call: ast.Call) -> None:
        config = _one(call)
        if not isinstance(config, (ast.Name, ast.Attribute)):
            raise Refusal("a config is no plain name", call)
        self.editor.between(self.editor.start(call), self.editor.start(config), "")
        found = '.get("model_transaction_policy", {}).get("decoupled", False)'
        self.editor.between(self.editor.end(config), self.editor.end(call), found)

    def _get_model_dir(self, call: ast.Call) -> None:
        if self.source.function_of(call) is not self.source.method("initialize"):
            raise Refusal("it asks for the model's directory outside of initialize", call)
        self.editor.replace(call, "str(instance.model.version_directory)")

    # --- args and methods ------------------------------------------------------------------------------

    def _argument(self, node: ast.Subscript | ast.Call, key: ast.expr) -> None:
        outer = self.source.parents.get(node)
        name = key.value if isinstance(key, ast.Constant) else None
        initialize = self.source.method("initialize")
        if name not in _ARGS or self.source.function_of(node) is not initialize:
            raise Refusal("it reads the arguments of initialize in a way that is not understood", node)
        given = node.value if isinstance(node, ast.Subscript) else node.func
        self.done.update(ast.walk(given))
        if name == "model_config":
            loads = (
                isinstance(outer, ast.Call) and dotted(outer.func) == "json.loads" and len(outer.args) == 1
            )
            if loads and not outer.keywords:  # type: ignore[union-attr]
                self.editor.replace(outer, "instance.model.config")  # type: ignore[arg-type]
                self.done.update(ast.walk(outer))  # type: ignore[arg-type]
                return
            self.dumps = True
        self.editor.replace(node, _ARGS[str(name)])

    def _method(self, call: ast.Call, func: ast.Attribute) -> None:
        owner = self.kinds.of.get(func.value)
        kind = "" if owner is None else owner.name
        if self.source.api(func.value) == "Logger":
            kind = "api:Logger"
        if kind == "args" and func.attr == "get" and call.args:
            self._argument(call, call.args[0])
        elif kind == "api:Logger":
            self._log_call(call, func)
        elif kind == "Tensor" and func.attr == "as_numpy" and not call.args:
            copy = ".numpy().copy()" if call in self._written else ".numpy()"
            self._tail(call, func, copy)
        elif (tail := _METHODS.get(f"{kind}.{func.attr}")) is not None:
            self._tail(call, func, tail)
        elif (pair := _CONVERTED.get(f"{kind}.{func.attr}")) is not None:
            self._converted(call, func, *pair)

    def _tail(self, call: ast.Call, func: ast.Attribute, tail: str) -> None:
        if call.args or call.keywords:
            raise Refusal(f"{func.attr} is called with arguments", call)
        self.editor.between(self.editor.end(func.value), self.editor.end(call), tail)
        self.finish(func, func.value)

    def _converted(self, call: ast.Call, func: ast.Attribute, convert: str, tail: str) -> None:
        outer = self.source.parents[call]
        loads = isinstance(outer, ast.Call) and dotted(outer.func) == "json.loads" and len(outer.args) == 1
        if convert == "json.dumps" and loads:
            self.editor.between(self.editor.start(outer), self.editor.start(call), "")
            self.editor.between(self.editor.end(call), self.editor.end(outer), "")
            self.done.update(ast.walk(outer.func))  # type: ignore[attr-defined]
        elif convert == "json.dumps":
            self.dumps = True
            self.editor.before(call, "json.dumps(")
            tail += ', separators=(",", ":"), ensure_ascii=False)'
        elif dotted(getattr(outer, "func", outer)) not in _TAKE_ANY:
            self.editor.before(call, f"{convert}(")
            tail += ")"
        self._tail(call, func, tail)

    def _log_call(self, call: ast.Call, func: ast.Attribute) -> None:
        level = _LOG.get(func.attr)
        if func.attr == "log" and 1 <= len(call.args) <= 2:
            level = "info" if len(call.args) == 1 else self._level(call.args[1])
        elif len(call.args) != 1:
            level = None
        if level is None or call.keywords:
            raise Refusal("it logs in a way that is not understood", call)
        self.editor.between(self.editor.end(call.args[0]), self.editor.end(call.args[-1]), "")
        start = self.editor.end(func.value)
        self.editor.between(start, self.editor.end(func), f".{level}")
        if self.source.api(func.value) is None:
            self.finish(func, func.value)
        else:
            self.done.update([func])

    def _level(self, node: ast.expr) -> str | None:
        """Give the method of a logger that logs at a level of Triton's."""
        self.done.update(ast.walk(node))
        known = {"INFO": "info", "WARNING": "warning", "ERROR": "error", "VERBOSE": "debug"}
        return known.get(node.attr) if isinstance(node, ast.Attribute) else None

    # --- names on their own ----------------------------------------------------------------------------

    def _name(self, node: ast.Name | ast.Attribute) -> None:
        name = self.source.api(node)
        if not name or not isinstance(node.ctx, ast.Load) or self._is_local(node):
            return
        if name == "Logger":
            self.logs = True
            self.editor.replace(node, "_log")
        elif name == "TritonModelException":
            self.needs.add("InternalError")
            self.editor.replace(node, "InternalError")
        elif name in _FLAGS:
            self.needs.add("RequestFlag")
            self.editor.replace(node, _FLAGS[name])
        elif name in _ANNOTATIONS and is_annotation(self.source, node):
            self.needs.add(_ANNOTATIONS[name])
            self.editor.replace(node, _ANNOTATIONS[name])
        else:
            raise Refusal(f"pb_utils.{name} has no simple counterpart", node)
        self.finish(node)

    def _is_local(self, node: ast.Name | ast.Attribute) -> bool:
        """Tell whether a name that was imported from Triton's module stands for something else here."""
        kind = self.kinds.of.get(node)
        return isinstance(node, ast.Name) and kind is not None and not kind.name.startswith("api:")

    def kind(self, node: ast.AST) -> Kind | None:
        """Give the kind of an expression."""
        return self.kinds.of.get(node)


def _one(call: ast.Call) -> ast.expr:
    if len(call.args) != 1 or call.keywords:
        raise Refusal("a call has other arguments than expected", call)
    return call.args[0]


def _two(call: ast.Call) -> tuple[ast.expr, ast.expr]:
    if len(call.args) != 2 or call.keywords:
        raise Refusal("a call has other arguments than expected", call)
    return call.args[0], call.args[1]
