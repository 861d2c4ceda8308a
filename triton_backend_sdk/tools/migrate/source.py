"""A Python file of a model: its tree, its text by position, and which of its names are Triton's."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from pathlib import Path

from triton_backend_sdk.tools.errors import HandledError
from triton_backend_sdk.tools.migrate import names

Function = ast.FunctionDef | ast.AsyncFunctionDef
MODEL_CLASS = "TritonPythonModel"


@dataclass
class Source:
    """A file as it was read."""

    path: Path
    #: UTF-8, as positions in a tree count bytes.
    data: bytes
    tree: ast.Module
    parents: dict[ast.AST, ast.AST] = field(default_factory=dict, repr=False)
    #: Names that stand for the module: ``pb_utils``.
    modules: set[str] = field(default_factory=set)
    #: Names that were imported from it, to what they are there.
    members: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Source:
        """Read a file.

        :raises HandledError: there is none, or it is no Python.
        """
        try:
            data = path.read_bytes().removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n")
            tree = ast.parse(data.decode("utf-8"), str(path))
        except OSError as error:
            raise HandledError(f"cannot read {path}: {error.strerror}") from error
        except SyntaxError as error:
            raise HandledError(
                f"{path}, line {error.lineno}: {error.msg}",
                f"mend the file: python -m py_compile {path}",
                details=[(error.text or "").rstrip()],
            ) from error
        except ValueError as error:  # no UTF-8, or null bytes
            raise HandledError(f"{path} is no Python: {error}") from error
        source = cls(path, data, tree)
        source._look()
        return source

    def _look(self) -> None:
        for node in ast.walk(self.tree):
            for child in ast.iter_child_nodes(node):
                self.parents[child] = node
            if isinstance(node, ast.Import):
                self.modules |= {
                    alias.asname or alias.name for alias in node.names if alias.name in names.MODULES
                }
            elif isinstance(node, ast.ImportFrom) and node.module in names.MODULES and not node.level:
                self.members |= {alias.asname or alias.name: alias.name for alias in node.names}

    def api(self, node: ast.AST) -> str | None:
        """Give what a node is of ``triton_python_backend_utils``: ``Tensor.from_dlpack``; "" for itself."""
        if isinstance(node, ast.Name):
            return "" if node.id in self.modules else self.members.get(node.id)
        if isinstance(node, ast.Attribute):
            owner = self.api(node.value)
            if owner is not None:
                return f"{owner}.{node.attr}".lstrip(".")
        return None

    @property
    def lines(self) -> list[int]:
        """The position at which each line begins."""
        starts = [0]
        for line in self.data.splitlines(keepends=True):
            starts.append(starts[-1] + len(line))
        return starts

    def text(self, node: ast.AST) -> str:
        """Give the text of a node."""
        return ast.get_source_segment(self.data.decode(), node) or ast.unparse(node)

    @property
    def model_class(self) -> ast.ClassDef | None:
        """The class TritonPythonModel, where this file has it."""
        return next((node for node in self.classes() if node.name == MODEL_CLASS), None)

    def classes(self) -> list[ast.ClassDef]:
        """Give the classes that the module's body defines, also below an ``if`` or ``try``."""
        return [node for node in ast.walk(self.tree) if isinstance(node, ast.ClassDef)]

    def method(self, name: str) -> Function | None:
        """Give a method of the class TritonPythonModel."""
        found = self.model_class
        body = [] if found is None else found.body
        return next((node for node in body if isinstance(node, Function) and node.name == name), None)

    def function_of(self, node: ast.AST) -> Function | None:
        """Give the function that a node is in."""
        at = self.parents.get(node)
        while at is not None and not isinstance(at, Function):
            at = self.parents.get(at)
        return at


def dotted(node: ast.AST) -> str:
    """Give ``a.b.c`` for such an expression, "" for any other."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (owner := dotted(node.value)):
        return f"{owner}.{node.attr}"
    return ""


def is_annotation(source: Source, node: ast.AST) -> bool:
    """Tell whether a node stands in an annotation."""
    while (outer := source.parents.get(node)) is not None:
        if isinstance(outer, (ast.arg, ast.AnnAssign)) and outer.annotation is node:
            return True
        if isinstance(outer, Function):
            return outer.returns is node
        if isinstance(outer, ast.stmt):
            return False
        node = outer
    return False
