"""What an expression stands for: a request, a tensor, an array that is a view of one."""

from __future__ import annotations

import ast
from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """What an expression gives; of an array also the ``as_numpy()`` calls that it may be a view from."""

    name: str
    origins: frozenset[ast.AST] = frozenset()

    @property
    def element(self) -> Kind | None:
        """What the elements of a list are; a part of an array is one."""
        if self.name == "Array":
            return self
        if self.name == "ResponseIterator":
            return Kind("InferenceResponse")
        return Kind(self.name[5:-1]) if self.name.startswith("list[") else None


MIXED = Kind("mixed")
NONE = Kind("None")
#: A list of nothing yet.
EMPTY = Kind("list[]")
Env = dict[str, Kind | None]


def join(one: Kind | None, other: Kind | None) -> Kind | None:
    """Give what stands for either."""
    if other in (one, NONE):
        return one
    if one == NONE:
        return other
    if {one, other} == {EMPTY, None}:
        return None
    kinds = [kind for kind in (one, other) if kind is not None]
    if all(kind.name == "Array" for kind in kinds):
        return Kind("Array", frozenset().union(*(kind.origins for kind in kinds)))
    if {kind.name for kind in kinds} == {"list[]"} | {kind.name for kind in kinds if kind.element}:
        return max(kinds, key=lambda kind: len(kind.name)) if len(kinds) == 2 else MIXED
    return MIXED


def listed(kind: Kind | None) -> Kind | None:
    """Give the list of what is of a kind."""
    if kind is None or kind in (MIXED, NONE):
        return None
    return kind if kind.name == "Array" else Kind(f"list[{kind.name}]")
