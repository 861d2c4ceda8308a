"""Where a request, tensor or response may stand in a model that is written anew."""

from __future__ import annotations

import ast

from triton_backend_sdk.tools.migrate.editor import Refusal
from triton_backend_sdk.tools.migrate.kind import MIXED, Kind
from triton_backend_sdk.tools.migrate.kinds import Kinds
from triton_backend_sdk.tools.migrate.names import words
from triton_backend_sdk.tools.migrate.source import Source, dotted

_WORDS = {
    "args": "the arguments of initialize",
    "InferenceRequest": "a request",
    "Tensor": "an input",
    "MadeTensor": "an output",
    "InferenceResponse": "a response",
    "TritonError": "an error",
    "api:Logger": "the logger",
    "InferenceTrace": "a trace",
}
_HARMLESS = words("""len enumerate zip list tuple reversed print bool str repr id type""")
_LIST_METHODS = frozenset(["append", "extend", "pop", "clear", "reverse"])
_RETURNED = ("list[InferenceResponse]", "list[]")


def check_contexts(source: Source, kinds: Kinds, done: set[ast.AST]) -> None:
    """Check that all that is done with requests, tensors and responses is understood.

    :raises Refusal: something is not; says where.
    """
    for node, kind in kinds.of.items():
        if kind is None or node in done or not isinstance(getattr(node, "ctx", ast.Load()), ast.Load):
            continue
        if kind == MIXED:
            raise Refusal(f"{source.text(node)} stands for different things", node)
        if kind.name.startswith("api:") and kind.name != "api:Logger":
            outer = source.parents.get(node)
            if not (isinstance(outer, ast.Attribute) or kind.name == "api:"):
                raise Refusal(f"{source.text(node)} is used in a way that is not understood", node)
            continue
        word = _word(kind)
        if word and not _is_understood(node, kind, source, kinds):
            raise Refusal(f"what it does with {word} is not understood: {_line(source, node)}", node)
    _check_config(source, kinds)
    _check_returns(source, kinds)


def _word(kind: Kind) -> str:
    element = kind.element
    if element is not None and kind.name != "Array":
        inner = _WORDS.get(element.name)
        return f"a list of {element.name}" if inner else ""
    return _WORDS.get(kind.name, "")


def _line(source: Source, node: ast.AST) -> str:
    line: int = node.lineno  # type: ignore[attr-defined]
    return source.data.splitlines()[line - 1].decode().strip()


def _is_understood(node: ast.AST, kind: Kind, source: Source, kinds: Kinds) -> bool:  # noqa: PLR0911
    outer = source.parents.get(node)
    if kind.name == "args":
        return False  # all that is known of them has been exchanged
    if isinstance(outer, ast.keyword):
        call = source.parents[outer]
        return isinstance(call, ast.Call) and kinds.called(call) is not None
    if isinstance(outer, ast.Call):
        return _may_take(outer, node, kinds)
    if isinstance(outer, (ast.List, ast.Tuple)):
        made = kinds.of.get(outer)
        unpacked = isinstance(source.parents.get(outer), ast.Assign)
        return made is not None or unpacked
    if isinstance(outer, ast.Compare):
        against = [outer.left, *outer.comparators]
        return all(one is node or (isinstance(one, ast.Constant) and one.value is None) for one in against)
    if isinstance(outer, ast.Attribute):
        return (kind.element is not None or kind.name == "list[]") and outer.attr in _LIST_METHODS
    if isinstance(outer, ast.Subscript):
        return outer.value is node and kind.element is not None
    return isinstance(
        outer,
        (
            ast.Assign, ast.AnnAssign, ast.Return, ast.Expr, ast.For, ast.comprehension, ast.ListComp,
            ast.IfExp, ast.If, ast.While, ast.BoolOp, ast.UnaryOp, ast.FormattedValue, ast.NamedExpr,
            ast.Assert, ast.GeneratorExp, ast.AugAssign,
        ),
    )  # fmt: skip


def _may_take(call: ast.Call, node: ast.AST, kinds: Kinds) -> bool:
    if node is call.func or kinds.called(call) is not None or dotted(call.func) in _HARMLESS:
        return True
    func = call.func
    if not isinstance(func, ast.Attribute) or func.attr not in ("append", "extend"):
        return False
    owner = kinds.of.get(func.value)
    return owner is not None and (owner.element is not None or owner.name == "list[]")


def _check_config(source: Source, kinds: Kinds) -> None:
    """Refuse a model that writes into its config, which instances share."""
    for node, kind in kinds.of.items():
        if kind is None or kind.name not in ("config", "TensorConfig"):
            continue
        outer = source.parents.get(node)
        stored = (
            isinstance(outer, ast.Subscript) and outer.value is node and not isinstance(outer.ctx, ast.Load)
        )
        changed = isinstance(outer, ast.Attribute) and outer.attr in ("update", "pop", "setdefault", "clear")
        if stored or changed:
            raise Refusal("it changes its copy of the model's config", node)


def _check_returns(source: Source, kinds: Kinds) -> None:
    execute = source.method("execute")
    returns = [
        node
        for node in ast.walk(execute or source.tree)
        if isinstance(node, ast.Return) and source.function_of(node) is execute
    ]
    for node in returns:
        kind = kinds.of.get(node.value) if node.value is not None else None
        if kind is None or kind.name not in _RETURNED:
            raise Refusal(f"what execute returns is not understood: {_line(source, node)}", node)
    if not returns:
        raise Refusal("its execute returns nothing", execute)
