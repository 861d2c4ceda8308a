from . import WORD as OUTER
from .deep import leaf

WORD = "inner"


def up():
    from .. import package  # noqa: F401

    return OUTER, leaf.LEAF
