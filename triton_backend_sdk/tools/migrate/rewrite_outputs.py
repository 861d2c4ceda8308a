"""Tensors, responses and errors that a model makes, as the SDK's Response has them: a dict of arrays.

An output that is made once and goes into one response's list becomes an entry of a dict; where outputs take
other ways they become pairs of name and array, and the response makes a dict of them.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from triton_backend_sdk.tools.migrate.editor import Refusal
from triton_backend_sdk.tools.migrate.source import Source

if TYPE_CHECKING:
    from triton_backend_sdk.tools.migrate.rewrite_calls import Calls

_ERRORS = {
    "UNKNOWN": "UnknownError",
    "INTERNAL": "InternalError",
    "NOT_FOUND": "NotFoundError",
    "INVALID_ARG": "InvalidArgError",
    "UNAVAILABLE": "UnavailableError",
    "UNSUPPORTED": "UnsupportedError",
    "ALREADY_EXISTS": "AlreadyExistsError",
    "CANCELLED": "CancelledError",
}
_PARAMETERS = ("output_tensors", "error", "parameters")


def rewrite(calls: Calls) -> None:
    """Exchange them all.

    :raises Refusal: one is not understood.
    """
    of: dict[str, list[ast.Call]] = {}
    for node in ast.walk(calls.source.tree):
        if isinstance(node, ast.Call) and (name := calls.source.api(node.func)):
            of.setdefault(name, []).append(node)
    makers = [*of.get("Tensor", []), *of.get("Tensor.from_dlpack", [])]
    responses = {call: _outputs(call) for call in of.get("InferenceResponse", [])}
    entries = _Entries(calls, makers, [outputs for outputs in responses.values() if outputs is not None])
    for call in makers:
        _check_tensor(call)
        entries.make(call)
        _spare_capsule(calls, call.args[1])
        calls.finish(call.func)
    for call, outputs in responses.items():
        _response(calls, call, outputs, entries)
    for call in of.get("TritonError", []):
        _error(calls, call)


class _Entries:
    """Which outputs become entries of a dict."""

    def __init__(self, calls: Calls, makers: list[ast.Call], outputs: list[ast.expr]) -> None:
        self._calls = calls
        self._source: Source = calls.source
        self._makers = set(makers)
        #: Name of a variable, per function, to the call that made it.
        self._named: dict[tuple[ast.AST | None, str], ast.Call] = {}
        self.dicts = {one for one in outputs if isinstance(one, ast.List) and one.elts}
        for call in makers:
            self._note(call)
        before = -1
        while before != len(self.dicts) + len(self._named):
            before = len(self.dicts) + len(self._named)
            self.dicts = {one for one in self.dicts if all(self._fits(part) for part in one.elts)}
            self._named = {key: call for key, call in self._named.items() if self._only_in_dicts(*key)}

    def _note(self, call: ast.Call) -> None:
        outer = self._source.parents[call]
        if (
            not isinstance(outer, ast.Assign)
            or len(outer.targets) != 1
            or not isinstance(call.args[0], ast.Constant)
        ):
            return
        target = outer.targets[0]
        if isinstance(target, ast.Name):
            key = (self._source.function_of(call), target.id)
            stores = [node for node in self._nodes(*key) if isinstance(node.ctx, ast.Store)]
            if len(stores) == 1:
                self._named[key] = call

    def _nodes(self, function: ast.AST | None, name: str) -> list[ast.Name]:
        inside = ast.walk(function or self._source.tree)
        return [node for node in inside if isinstance(node, ast.Name) and node.id == name]

    def _only_in_dicts(self, function: ast.AST | None, name: str) -> bool:
        loads = [node for node in self._nodes(function, name) if isinstance(node.ctx, ast.Load)]
        return all(self._source.parents[node] in self.dicts for node in loads)

    def _fits(self, element: ast.expr) -> bool:
        if isinstance(element, ast.Name):
            return (self._source.function_of(element), element.id) in self._named
        return element in self._makers

    def make(self, call: ast.Call) -> None:
        """Exchange a call that makes a tensor."""
        editor, (name, array) = self._calls.editor, call.args
        outer = self._source.parents[call]
        if outer in self.dicts:
            editor.between(editor.start(call), editor.start(name), "")
            editor.between(editor.end(name), editor.start(array), ": ")
            editor.between(editor.end(array), editor.end(call), "")
        elif isinstance(outer, ast.Assign) and call in self._named.values():
            brackets = array.lineno != array.end_lineno and not _is_closed(array)
            editor.between(editor.start(call), editor.start(array), "(" * brackets)
            editor.between(editor.end(array), editor.end(call), ")" * brackets)
        else:
            editor.replace(call.func, "")

    def fill(self, outputs: ast.List) -> None:
        """Turn a list of tensors into a dict."""
        editor = self._calls.editor
        self._check_names(outputs)
        editor.between(editor.start(outputs), editor.start(outputs) + 1, "{")
        editor.between(editor.end(outputs) - 1, editor.end(outputs), "}")
        for element in outputs.elts:
            self._calls.done.add(element)
            if isinstance(element, ast.Name):
                maker = self._named[self._source.function_of(element), element.id]
                editor.before(element, f"{self._source.text(maker.args[0])}: ")

    def _check_names(self, outputs: ast.List) -> None:
        makers = [
            self._named[self._source.function_of(element), element.id]
            if isinstance(element, ast.Name)
            else element
            for element in outputs.elts
        ]
        written = [ast.dump(maker.args[0]) for maker in makers if isinstance(maker, ast.Call)]
        if len(set(written)) != len(written):
            raise Refusal("a response has an output twice", outputs)


def _is_closed(node: ast.expr) -> bool:
    """Tell whether an expression of several lines stands in brackets of its own."""
    if isinstance(node, ast.Call):
        return node.func.lineno == node.func.end_lineno
    return isinstance(node, (ast.List, ast.Tuple, ast.Dict, ast.ListComp))


def _check_tensor(call: ast.Call) -> None:
    if len(call.args) != 2 or call.keywords or any(isinstance(arg, ast.Starred) for arg in call.args):
        raise Refusal("an output is made with other arguments than name and array", call)


def _spare_capsule(calls: Calls, array: ast.expr) -> None:
    """Give the array itself where a capsule is made of it: the SDK asks for one by itself."""
    func = array.func if isinstance(array, ast.Call) else None
    if not isinstance(array, ast.Call) or getattr(func, "attr", getattr(func, "id", "")) != "to_dlpack":
        return
    editor = calls.editor
    if len(array.args) == 1 and not array.keywords:
        editor.between(editor.start(array), editor.start(array.args[0]), "")
        editor.between(editor.end(array.args[0]), editor.end(array), "")
    elif isinstance(func, ast.Attribute) and not array.args:
        editor.between(editor.end(func.value), editor.end(array), "")
        calls.finish(func, func.value)
    else:
        raise Refusal("a DLPack capsule is made in a way that is not understood", array)


def _outputs(call: ast.Call) -> ast.expr | None:
    if call.args:
        return call.args[0]
    return next((keyword.value for keyword in call.keywords if keyword.arg == "output_tensors"), None)


def _response(calls: Calls, call: ast.Call, outputs: ast.expr | None, entries: _Entries) -> None:
    editor = calls.editor
    if len(call.args) > 2 or any(keyword.arg not in _PARAMETERS for keyword in call.keywords):
        raise Refusal("a response is made with arguments that are not understood", call)
    calls.needs.add("Response")
    editor.replace(call.func, "Response")
    calls.finish(call.func)
    for keyword in call.keywords:
        calls.done.add(keyword.value)
        if keyword.arg == "output_tensors":
            editor.between(editor.start(keyword), editor.start(keyword.value), "")
            if call.keywords[0] is not keyword or call.args:
                editor.before(keyword.value, "outputs=")
    calls.done.update(call.args)
    if outputs is None:
        return
    if isinstance(outputs, ast.List) and (outputs in entries.dicts or not outputs.elts):
        entries.fill(outputs)
        return
    kind = calls.kind(outputs)
    if kind is None or kind.name not in ("list[MadeTensor]", "list[]"):
        raise Refusal("what a response's outputs are is not understood", call)
    editor.before(outputs, "dict(")
    editor.after(outputs, ")")


def _error(calls: Calls, call: ast.Call) -> None:
    code = call.args[1] if len(call.args) == 2 else None
    for keyword in call.keywords:
        code = keyword.value if keyword.arg == "code" else code
    if not call.args or len(call.args) + len(call.keywords) > 2:
        raise Refusal("an error is made with arguments that are not understood", call)
    name = "TritonError.INTERNAL" if code is None else calls.source.api(code) or ""
    error = _ERRORS.get(name.removeprefix("TritonError."))
    if error is None:
        raise Refusal("an error's code is computed", call)
    calls.needs.add(error)
    calls.editor.replace(call.func, error)
    calls.finish(call.func)
    if code is not None:
        calls.editor.between(calls.editor.end(call.args[0]), calls.editor.end(call) - 1, "")
        calls.finish(code)
