"""What an expression of a model's source has to do with its inputs' memory."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from triton_backend_sdk.python_backend.taint import ARRAY, HOLDER, NONE, Env, Function, Model

#: Methods that write into their array, and functions that write into their first argument.
_WRITE_METHODS = frozenset(
    [
        "sort",
        "fill",
        "resize",
        "put",
        "partition",
        "setflags",
        "setfield",
        "itemset",
        "byteswap",
        "__setitem__",
        "__iadd__",
        "__imul__",
    ]
)
_WRITE_FUNCTIONS = frozenset(
    [
        "copyto",
        "place",
        "putmask",
        "put",
        "put_along_axis",
        "fill_diagonal",
        "shuffle",
        "at",
        "as_ctypes",
        "from_numpy",
        "as_tensor",
    ]
)
#: Keywords that ask for it.
_WRITE_KEYWORDS = frozenset(
    ["out", "inplace", "overwrite_input", "overwrite_a", "overwrite_b", "overwrite_x", "op_flags"]
)
#: Attributes of an array that one may assign to.
WRITE_ATTRIBUTES = frozenset(["shape", "dtype", "strides", "flat", "real", "imag"])
#: What gives the same memory again, as a method of an array or a function of one.
_SAME_MEMORY = frozenset(
    [
        "reshape",
        "transpose",
        "squeeze",
        "ravel",
        "view",
        "swapaxes",
        "diagonal",
        "asarray",
        "asanyarray",
        "ascontiguousarray",
        "expand_dims",
        "moveaxis",
        "rollaxis",
        "broadcast_to",
        "atleast_1d",
        "atleast_2d",
        "atleast_3d",
        "flip",
        "fliplr",
        "flipud",
        "rot90",
        "frombuffer",
        "require",
        "from_dlpack",
        "real",
        "imag",
        "as_strided",
        "sliding_window_view",
        "memoryview",
        "next",
        "getattr",
    ]
)
_SAME_IF_ASKED = frozenset(("array", "astype", "nan_to_num"))
_VIEW_ATTRIBUTES = frozenset(("T", "mT", "real", "imag", "flat", "base", "data"))
#: What gives a container of what it is given, or of the parts of an array.
_HOLDING = frozenset(
    [
        "Tensor",
        "InferenceResponse",
        "output_tensors",
        "list",
        "tuple",
        "dict",
        "set",
        "zip",
        "enumerate",
        "reversed",
        "sorted",
        "iter",
        "map",
        "filter",
        "split",
        "array_split",
        "hsplit",
        "vsplit",
        "dsplit",
        "items",
        "values",
        "copy",
        "broadcast_arrays",
        "deque",
        "chain",
        "unstack",
    ]
)
_TAKING_OUT = frozenset(("get", "pop", "popleft", "setdefault", "__getitem__"))
_PUTTING_IN = frozenset(
    [
        "append",
        "appendleft",
        "add",
        "extend",
        "insert",
        "put_nowait",
        "update",
        "setdefault",
        "submit",
        "call_soon_threadsafe",
    ]
)
_UFUNCS = frozenset(["add", "subtract", "multiply", "divide", "true_divide", "power", "maximum", "minimum"])


#: Where inputs come from.
_SOURCES = {"as_numpy": ARRAY, "inputs": HOLDER, "get_input_tensor_by_name": HOLDER}


class Levels:
    """Gives the level of expressions, and finds the calls among them that write."""

    def __init__(self, model: Model, function: Function) -> None:
        self.model = model
        self.function = function
        self.news = False

    def find(self, node: ast.AST, what: str) -> None:
        """Note that a line makes copies necessary."""
        self.model.find(self.function.file, getattr(node, "lineno", 0), what)

    def put(self, container: ast.expr, env: Env) -> None:
        """Put an array into a container: one of this call, or one that stays."""
        root = container
        while isinstance(root, (ast.Attribute, ast.Subscript)):
            root = root.value
        plain = isinstance(container, (ast.Name, ast.Subscript)) and isinstance(root, ast.Name)
        if plain and root.id in self.function.locals:  # type: ignore[attr-defined]
            env[root.id] = max(HOLDER, env.get(root.id, NONE))  # type: ignore[attr-defined]
        else:
            self.find(container, "keeps it")

    def level(self, node: ast.expr, env: Env) -> int:  # noqa: PLR0911  one for each kind
        """Give the level of an expression."""
        if isinstance(node, ast.Name):
            return env.get(node.id, NONE)
        if isinstance(node, ast.Call):
            return self._call(node, env)
        if isinstance(node, ast.Attribute):
            return self._attribute(node, env)
        if isinstance(node, ast.Subscript):
            self.level(node.slice, env)
            return ARRAY if self.level(node.value, env) else NONE
        if isinstance(node, (ast.IfExp, ast.BoolOp, ast.Await, ast.NamedExpr, ast.Starred)):
            return self._same(node, env)
        if isinstance(node, (ast.List, ast.Tuple, ast.Set, ast.Dict)):
            return HOLDER if self._highest(_parts(node), env) else NONE
        if isinstance(node, (ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp)):
            return self._comprehension(node, env)
        if isinstance(node, ast.Lambda):
            names = (part for part in ast.walk(node.body) if isinstance(part, ast.Name))
            self.level(node.body, dict(env))
            return HOLDER if self._highest(names, env) else NONE
        self._highest(_parts(node), env)
        return NONE  # such as arithmetic, which makes new arrays

    def _same(self, node: ast.expr, env: Env) -> int:
        level = self._highest(_parts(node), env)
        if isinstance(node, ast.NamedExpr):
            env[node.target.id] = level = self.level(node.value, env)
        return level

    def _attribute(self, node: ast.Attribute, env: Env) -> int:
        level = self.level(node.value, env)
        if level == ARRAY and node.attr in ("ctypes", "__array_interface__"):
            self.find(node, "may write into it")
        return level if node.attr in _VIEW_ATTRIBUTES else NONE

    def _comprehension(self, node: ast.expr, env: Env) -> int:
        inner = dict(env)
        for generator in node.generators:  # type: ignore[attr-defined]
            part = ARRAY if self.level(generator.iter, inner) else NONE
            for name in ast.walk(generator.target):
                if isinstance(name, ast.Name):
                    inner[name.id] = part
            for test in generator.ifs:
                self.level(test, inner)
        values = [getattr(node, part) for part in ("key", "value", "elt") if hasattr(node, part)]
        return HOLDER if self._highest(values, inner) else NONE

    def _highest(self, nodes: Iterable[ast.expr], env: Env) -> int:
        return max([self.level(node, env) for node in nodes], default=NONE)

    def _call(self, node: ast.Call, env: Env) -> int:
        name = _name(node.func)
        owner = self.level(node.func.value, env) if isinstance(node.func, ast.Attribute) else NONE
        given = [self.level(argument, env) for argument in node.args]
        named = {keyword.arg: self.level(keyword.value, env) for keyword in node.keywords}
        highest = max((*given, *named.values()), default=NONE)
        self._look_for_writes(node, name, owner, given, named)
        if name in _SOURCES:
            return _SOURCES[name]
        puts = name in _PUTTING_IN and (name != "add" or len(given) == 1)  # np.add is no set's
        if puts and isinstance(node.func, ast.Attribute) and highest:
            self.put(node.func.value, env)
        returned = self._own(node, name, given, named)
        level = max(owner, highest)
        if not level:
            return returned
        if name in _TAKING_OUT or name in _SAME_MEMORY:
            return ARRAY
        if name in _HOLDING and not (name == "copy" and owner == ARRAY):
            return HOLDER
        if name in _SAME_IF_ASKED and _is_false(node, "copy"):
            return ARRAY
        return returned

    def _look_for_writes(
        self, node: ast.Call, name: str, owner: int, given: list[int], named: dict[str | None, int]
    ) -> None:
        array = ARRAY in given or ARRAY in named.values() or owner == ARRAY
        if (
            (owner == ARRAY and name in _WRITE_METHODS)
            or (given[:1] == [ARRAY] and name in _WRITE_FUNCTIONS)
            or (name in _UFUNCS and given[2:3] == [ARRAY])
            or (array and name == "nan_to_num" and _is_false(node, "copy"))
            or (array and name == "frombuffer" and _name(getattr(node.func, "value", node.func)) == "torch")
        ):
            self.find(node, "may write into it")
        for keyword in _WRITE_KEYWORDS & named.keys():
            holds = named[keyword] if keyword == "out" else array and not _is_false(node, keyword)
            if holds:
                self.find(node, "writes into it")

    def _own(self, node: ast.Call, name: str, given: list[int], named: dict[str | None, int]) -> int:
        """Tell the model's own functions of that name what they are given; give what they return."""
        returned = NONE
        for function in self.model.functions.get(name, ()):
            skip = 1 if function.is_method and isinstance(node.func, ast.Attribute) else 0
            for parameter, level in zip(function.parameters[skip:], given, strict=False):
                self.news |= function.give(parameter, level)
            for keyword, level in named.items():
                self.news |= keyword is not None and function.give(keyword, level)
            rest = function.node.args.vararg
            if rest is not None and any(given[len(function.parameters) - skip :]):
                self.news |= function.give(rest.arg, HOLDER)
            returned = max(returned, function.returns)
        return returned


def _parts(node: ast.AST) -> Iterable[ast.expr]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            yield child
        else:
            yield from _parts(child)


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _is_false(node: ast.Call, keyword: str) -> bool:
    return any(
        given.arg == keyword and isinstance(given.value, ast.Constant) and given.value.value is False
        for given in node.keywords
    )
