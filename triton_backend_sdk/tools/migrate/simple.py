"""Which models are simple enough to be written anew as an SDK plugin."""

from __future__ import annotations

import ast

from triton_backend_sdk.tools.migrate.editor import Refusal
from triton_backend_sdk.tools.migrate.inventory import Inventory
from triton_backend_sdk.tools.migrate.names import words
from triton_backend_sdk.tools.migrate.source import Function, Source, dotted

#: Why a name needs the wrapper, where its name does not say it.
_NEEDS = {
    "InferenceRequest": "it calls other models",
    "InferenceRequest.exec": "it calls other models",
    "InferenceRequest.async_exec": "it calls other models",
    "InferenceRequest.get_response_sender": "it answers through response senders",
    "InferenceRequest.set_release_flags": "it reschedules requests",
    "MetricFamily": "it has metrics of its own",
    "load_model": "it loads models",
    "unload_model": "it loads models",
    "ModelConfig": "it completes its config",
}
_HOOKS = ("initialize", "execute", "finalize", "is_ready")
_MUTATORS = words(
    """append extend insert add update setdefault pop popitem clear remove discard appendleft"""
)


def check_simple(inventory: Inventory) -> None:
    """Find what keeps a model from being written anew.

    :raises Refusal: something does; says what.
    """
    source = inventory.sources[0]
    cls = source.model_class
    if len(inventory.sources) > 1:
        raise Refusal(f"it has modules of its own: {inventory.sources[1].path.name}")
    if cls is None or source.parents[cls] is not source.tree:
        raise Refusal("its class TritonPythonModel is not defined at the top of model.py", cls)
    if cls.decorator_list or cls.keywords or any(dotted(base) != "object" for base in cls.bases):
        raise Refusal("its class has base classes or decorators", cls)
    if inventory.is_decoupled:
        raise Refusal("it is decoupled")
    for name, use in inventory.uses.items():
        if name in _NEEDS:
            raise Refusal(_NEEDS[name], ast.Name(name, lineno=use.places[0][1], col_offset=0))
    _check_methods(source, cls)
    check_state(source, cls)


def _check_methods(source: Source, cls: ast.ClassDef) -> None:
    methods = {node.name: node for node in cls.body if isinstance(node, Function)}
    if "auto_complete_config" in methods:
        raise Refusal("it completes its config", methods["auto_complete_config"])
    if "execute" not in methods:
        raise Refusal("it has no execute of its own", cls)
    if isinstance(methods["execute"], ast.AsyncFunctionDef):
        raise Refusal("its execute is a coroutine", methods["execute"])
    if "__init__" in methods and len(methods["__init__"].args.args) != 1:
        raise Refusal("its __init__ takes arguments", methods["__init__"])
    for name in _HOOKS:
        method = methods.get(name)
        if method is None:
            continue
        plain = method.args
        count = 2 if name in ("initialize", "execute") else 1
        if (
            method.decorator_list
            or plain.vararg
            or plain.kwarg
            or len(plain.args) != count
            or plain.kwonlyargs
        ):
            raise Refusal(f"its {name} is not a plain method", method)
    for node in ast.walk(methods["execute"]):
        if isinstance(node, (ast.Yield, ast.YieldFrom)):
            raise Refusal("its execute is a generator", node)


def check_state(source: Source, cls: ast.ClassDef) -> None:
    """Refuse what each instance of a model has for itself on the stock backend, and would share here.

    :raises Refusal: there is something; says what.
    """
    shared = _assigned(source.tree.body)
    own = {f"self.{name}" for name in _assigned(cls.body)}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Global):
            raise Refusal("its functions write to globals, which instances would share", node)
        if isinstance(node, ast.Name) and node.id == "__file__":
            raise Refusal("it looks for files beside model.py (__file__)", node)
        name = dotted(_changed(node))
        if name in shared and source.function_of(node) is not None and not _is_local(source, node, name):
            raise Refusal(f"its functions change {name!r}, which instances would share", node)
        if name in own:
            raise Refusal(f"it changes {name!r} of the class, which instances would share", node)


def _changed(node: ast.AST) -> ast.AST:
    """Give what a node changes in place."""
    if isinstance(node, (ast.Subscript, ast.Attribute)) and not isinstance(node.ctx, ast.Load):
        return node.value
    if isinstance(node, ast.AugAssign):
        return node.target
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _MUTATORS:
        return node.func.value
    return ast.Constant(None)


def _is_local(source: Source, node: ast.AST, name: str) -> bool:
    function = source.function_of(node)
    return function is not None and name in {
        *(one.arg for one in ast.walk(function.args) if isinstance(one, ast.arg)),
        *(
            one.id
            for one in ast.walk(function)
            if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)
        ),
    }


def _assigned(body: list[ast.stmt]) -> set[str]:
    return {
        target.id
        for node in body
        if isinstance(node, (ast.Assign, ast.AnnAssign))
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
