"""Which NumPy expressions give a view of an array, and which write into it."""

from __future__ import annotations

import ast

from triton_backend_sdk.tools.migrate.names import words
from triton_backend_sdk.tools.migrate.source import dotted

_VIEWS = words(
    """T mT real imag flat reshape squeeze ravel view transpose swapaxes diagonal newbyteorder asarray
    asanyarray ascontiguousarray asfortranarray atleast_1d atleast_2d atleast_3d broadcast_to
    expand_dims moveaxis rollaxis rot90 flip fliplr flipud split array_split hsplit vsplit dsplit
    require nan_to_num"""
)
_WRITERS = words("""sort fill resize put partition itemset setflags setfield byteswap""")
_WRITING_FUNCTIONS = words("""copyto put place putmask fill_diagonal put_along_axis shuffle""")
#: Calls that only read what they are given.
_READERS = words(
    """len print str repr bool int float bytes list tuple set sorted sum min max any all enumerate zip range
    type isinstance id hash reversed map iter next io.BytesIO json.dumps"""
)


def is_view_of(node: ast.Attribute | ast.Call) -> bool:
    """Tell whether an attribute, method or function of an array may give a view of it."""
    if isinstance(node, ast.Attribute):
        return node.attr in _VIEWS
    name = dotted(node.func).rpartition(".")[2] or getattr(node.func, "attr", "")
    if name in ("astype", "array"):
        return any(keyword.arg == "copy" for keyword in node.keywords)
    return name in _VIEWS


def writes_into(node: ast.AST, array: ast.AST) -> bool:  # noqa: PLR0911  one for each kind
    """Tell whether an array may be written to, or kept, by the expression or statement it stands in."""
    if isinstance(node, (ast.Assign, ast.AnnAssign)):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return any(isinstance(target, (ast.Attribute, ast.Subscript)) for target in targets)
    if isinstance(node, ast.AugAssign):
        return node.target is array
    if isinstance(node, ast.Subscript):
        return node.value is array and isinstance(node.ctx, (ast.Store, ast.Del))
    if isinstance(node, ast.keyword):
        return node.arg == "out"
    if isinstance(node, ast.Attribute):
        return node.attr in _WRITERS
    if isinstance(node, ast.Call):
        return node.func is not array and not _reads(node)
    return isinstance(node, (ast.Dict, ast.DictComp))  # what becomes of its values is not followed


def _reads(call: ast.Call) -> bool:
    """Tell whether a call only reads its arguments."""
    name = dotted(call.func)
    if name.startswith(("np.", "numpy.")):
        return name.rpartition(".")[2] not in _WRITING_FUNCTIONS
    return name in _READERS
